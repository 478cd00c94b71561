"""The positions of ranks in their collectives: read, compared, and told as a hang or as slowness."""

from __future__ import annotations

import pytest

from faultlab.core.collectives import Position, contradict, is_deadlock, of_group_to_bytes, standstill


def test_ranks_contradict_each_other_at_one_place_of_one_group_alone() -> None:
    own = of_group_to_bytes("0", 7, "all_reduce")
    assert contradict(own, of_group_to_bytes("0", 7, "broadcast"))
    assert not contradict(own, own)
    for group, place in (("0", 6), ("0", 8), ("1", 7)):
        assert not contradict(own, of_group_to_bytes(group, place, "broadcast"))


def test_a_file_that_is_being_written_contradicts_nothing() -> None:
    own, before = of_group_to_bytes("0", 7, "all_reduce"), of_group_to_bytes("0", 6, "barrier")
    after = of_group_to_bytes("0", 7, "barrier")
    assert contradict(own, after)
    torn = [after[:written] + before[written:] for written in range(1, len(after))]
    assert not any(contradict(own, half) for half in torn if half != after)
    assert not contradict(own, bytes(len(own)))


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        (
            [Position(0, 7, "all_reduce", 3), Position(1, 6, "broadcast", 3)],
            "rank 0 waits in all_reduce (its 7th collective, in step 3); ",
        ),
        ([Position(0, 7, "all_reduce", 3), Position(1)], "rank 1 has not entered it, after no collective yet"),
        (
            [Position(0, 7, "all_reduce", 3), Position(1, 7, "barrier", 3)],
            "rank 0 in all_reduce (its 7th collective, in step 3), rank 1 in barrier (its 7th collective, in step 3)",
        ),
        ([Position(0, 7, "all_reduce", 3), Position(1, 7, "all_reduce", 3)], "so this may be slowness"),
        (
            [Position(0, 6, "broadcast", 3), Position(1, 4, "broadcast", 3), Position(2, 7, "all_reduce", 3)],
            "rank 0 waits in broadcast (its 6th collective, in step 3); "
            "rank 2 waits in all_reduce (its 7th collective, in step 3); "
            "rank 1 has not entered them, after broadcast (its 4th collective, in step 3)",
        ),
        ([Position(0), Position(1)], ""),
        (
            [Position(0, 7, "all_reduce", 3), Position(1, 6, "broadcast", 2, earlier=True)],
            "rank 1 has not entered it, after broadcast (its 6th collective, in step 2)",
        ),
        ([Position(0, 6, "broadcast", 2, earlier=True), Position(1, 6, "broadcast", 2, earlier=True)], ""),
    ],
)
def test_positions_tell_a_hang_from_slowness(positions: list[Position], said: str) -> None:
    told = standstill(positions)
    assert said in told
    assert bool(said) == bool(told)
    assert is_deadlock(positions) == said.startswith("rank 0 in ")
