"""Orders that wait: who is next, and what is looked at to find that out."""

from __future__ import annotations

from collections import Counter

from faultlab.core.orders import Order, Place, Train
from faultlab.engines.fork import _longest_first
from faultlab.engines.waiting import Waiting


def taken(waiting: Waiting, awake: int, asleep: int = 0, absent: tuple[Place, ...] = ()) -> list[str]:
    """The ids of the orders given out to so many slots."""
    free = {False: awake, True: asleep}
    return [order.id for order, _ in waiting.take(free, lambda place: None if place in absent else place)]


def test_orders_are_given_out_in_their_sequence_whatever_places_they_begin_at() -> None:
    waiting = Waiting(
        Order(name, Train(0), at=at) for name, at in [("a", 3), ("b", 1), ("c", 3), ("d", "fit"), ("e", 1)]
    )
    assert taken(waiting, 2) == ["a", "b"]
    assert len(waiting) == 3
    waiting.add(Order("f", Train(0), at=1))
    assert taken(waiting, 9) == ["c", "d", "e", "f"]
    assert len(waiting) == 0


def test_what_is_put_first_goes_before_the_others_of_its_place_and_of_all() -> None:
    waiting = Waiting(Order(name, Train(0), at=at) for name, at in [("a", 3), ("b", 1), ("c", 3)])
    waiting.put_first(Order("d", Train(0), at=1))
    waiting.put_first(Order("e", Train(0), at=3))
    assert taken(waiting, 1, absent=(3,)) == ["d"]
    assert taken(waiting, 2) == ["e", "a"]
    waiting.put_first(Order("f", Train(0), at=9))
    assert taken(waiting, 9) == ["f", "b", "c"]
    assert len(waiting) == 0


def test_those_whose_place_is_not_there_yet_wait_and_keep_their_turn() -> None:
    waiting = Waiting(Order(name, Train(0), at=at) for name, at in [("a", 3), ("b", 1), ("c", 3), ("d", 1)])
    assert taken(waiting, 1, absent=(3,)) == ["b"]
    assert taken(waiting, 9) == ["a", "c", "d"]


def test_those_that_sleep_take_slots_of_their_own() -> None:
    waiting = Waiting(Order(name, Train(0), sleeps=sleeps) for name, sleeps in [("a", True), ("b", False), ("c", True)])
    assert taken(waiting, 0, 1) == ["a"]
    assert taken(waiting, 1, 0) == ["b"]
    assert taken(waiting, 1, 1) == ["c"]


def test_the_dispatcher_asks_once_a_place_and_order_however_many_wait() -> None:
    waiting = Waiting(Order(str(number), Train(0), at=number % 10) for number in range(10_000))
    asked: Counter[Place] = Counter()

    def find(place: Place) -> bool | None:
        asked[place] += 1
        return None if place != 9 else True

    assert [order.id for order, _ in waiting.take({False: 2, True: 2}, find)] == ["9", "19"]
    assert asked == {**dict.fromkeys(range(9), 1), 9: 2}
    asked.clear()
    assert list(waiting.take({False: 0, True: 2}, find)) == []
    assert not asked, "without a free slot nothing is looked for"


def test_the_snapshot_run_goes_first_and_then_what_has_most_left_to_run() -> None:
    orders = [
        Order("late", Train(0), at=9),
        Order("early", Train(0), at=0),
        Order("before fit", Train(0), at="fit"),
        Order("from nothing", Train(0)),
        Order("goes on from its checkpoints", Train(0, reload=True)),
        Order("snapshot_run", Train(0, snapshots=(0, 9))),
    ]
    found = [order.id for order in sorted(orders, key=_longest_first)]
    assert found == ["snapshot_run", "goes on from its checkpoints", "from nothing", "before fit", "early", "late"]
