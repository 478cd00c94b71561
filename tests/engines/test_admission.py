"""How many victims run at a time: no more than there are cores, and room in the memory for."""

from __future__ import annotations

import pytest

from faultlab import engines
from faultlab.core import resource_limits
from faultlab.core.orders import Order, Train
from faultlab.engines import processes
from faultlab.engines.admission import Admission, slots
from faultlab.errors import UsageError

GIB = 1 << 20  # KiB


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 20 GiB, of which 9 are free."""
    monkeypatch.setattr(processes, "memory", lambda: {"MemTotal": 20 * GIB, "MemAvailable": 9 * GIB})


@pytest.mark.usefixtures("machine")
def test_what_is_free_is_shared_out_but_for_a_reserve() -> None:
    known = Admission()
    known.learn(2 * GIB)
    known.learn(1 * GIB)
    assert known.room(running=1) == 4


@pytest.mark.usefixtures("machine")
def test_a_victim_larger_than_what_is_free_runs_alone() -> None:
    known = Admission()
    known.learn(30 * GIB)
    assert known.room(running=0) == 1
    assert known.room(running=1) == 0


@pytest.mark.usefixtures("machine")
def test_before_a_clean_run_has_told_its_memory_nothing_is_held_back() -> None:
    assert Admission().room(running=7) > 1000


def test_where_the_system_does_not_tell_its_memory_nothing_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "memory", dict)
    known = Admission()
    known.learn(30 * GIB)
    assert known.room(running=7) > 1000


def test_memory_that_was_written_to_counts_also_after_it_was_let_go() -> None:
    held = bytearray(b"x" * (256 << 20))
    with_it = resource_limits.private_memory()
    assert with_it > 256 << 10
    del held
    assert resource_limits.private_memory() > with_it - (32 << 10)


def test_more_jobs_than_cores_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cores", lambda: 2)
    assert engines.checked_jobs(None) == 2
    assert engines.checked_jobs(2) == 2
    with pytest.raises(UsageError, match="3 jobs on 2 cores"):
        engines.checked_jobs(3)


def test_jobs_count_processes_and_one_run_always_starts() -> None:
    running = [Order("a", Train(0))]
    assert [slots(jobs, 1, [], sleep=False) for jobs in (0, 1, 4)] == [1, 1, 4]
    assert [slots(jobs, 1, running, sleep=False) for jobs in (1, 4)] == [0, 3]


def test_a_run_of_ranks_that_wait_for_each_other_leaves_room_for_one_more() -> None:
    two = Order("a", Train(0), ranks=2)
    assert [slots(4, 2, [two] * running, sleep=False) for running in range(4)] == [3, 2, 1, 0]
    assert [slots(2, 2, [two] * running, sleep=False) for running in range(3)] == [2, 1, 0]
    assert [slots(1, 2, [two] * running, sleep=False) for running in range(2)] == [1, 0]


def test_runs_that_wait_for_a_deadline_take_no_core() -> None:
    two = Order("a", Train(0), ranks=2)
    assert [slots(4, 2, [two] * running, sleep=True) for running in range(5)] == [4, 3, 2, 1, 0]
    one = Order("a", Train(0))
    assert [slots(2, 1, [one] * running, sleep=True) for running in range(5)] == [4, 3, 2, 1, 0]


def test_runs_that_wait_already_count_only_until_there_are_four_times_as_many_as_jobs() -> None:
    runs = [Order(str(number), Train(0), sleeps=True) for number in range(8)]
    asleep = {run.id for run in runs}
    assert [slots(2, 1, runs[:running], sleep=True, asleep=asleep) for running in (1, 4, 6, 8)] == [4, 4, 2, 0]
    assert slots(2, 1, runs[:6], sleep=True, asleep={"0", "1", "2"}) == 1


@pytest.mark.usefixtures("machine")
def test_memory_bounds_runs_that_wait_as_well() -> None:
    known = Admission()
    known.learn(3 * GIB)
    given = [Order("computes", Train(0)), Order("sleeps", Train(0), sleeps=True)]
    known.asleep = {"sleeps", "ended before"}
    assert known.free(8, 1, given) == {False: 2, True: 2}
    assert known.asleep == {"sleeps"}
