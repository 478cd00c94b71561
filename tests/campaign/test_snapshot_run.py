"""Which clean run a faulted one is compared with, where clean runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from faultlab.campaign.clean_runs import SNAPSHOT_RUN
from faultlab.campaign.snapshot_run import SnapshotRun
from faultlab.campaign.verdict import Twin
from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Train
from faultlab.core.results import Outcome, RunResult
from faultlab.core.trajectory import Trajectory
from faultlab.engines import Capabilities

CLEAN, OTHER = Trajectory(digest="clean"), Trajectory(digest="other")
FAULTS = [
    Order("forked", Train(0, Fault("loss.nan")), at=3),
    Order("anew", Train(0, Fault("random.unseeded"))),
]


class Engine:
    """Gives back outcomes in an order of its own; ``digests`` says what each run ended with."""

    root = "/nowhere"
    ranks = 1
    capabilities = Capabilities(snapshots=True)

    def __init__(self, arriving: Sequence[str], digests: dict[str, str], copied: bool = True) -> None:
        self.asked: list[str] = []
        self._arriving, self._digests, self._copied = arriving, digests, copied

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        self.asked = [one.id for one in orders]
        places = {one.id: one.at for one in orders}
        for id in [*self._arriving, *(one for one in self.asked if one not in self._arriving)]:
            born = places[id] if self._copied and id != SNAPSHOT_RUN else "construct"
            trajectory = Trajectory(digest=self._digests.get(id, "snapshot_run"))
            yield Outcome(id, [RunResult(trajectory, born=born)])


def _run(engine: Any, twin: Twin, orders: Sequence[Order] = FAULTS) -> dict[str, Twin]:
    return {outcome.id: compared for outcome, compared in SnapshotRun(engine, twin, 0).run(orders)}


def test_of_a_deterministic_target_all_are_compared_with_the_clean_run_as_they_come() -> None:
    engine, twin = Engine(["forked"], {}), Twin(CLEAN)
    assert _run(engine, twin) == {"forked": twin, SNAPSHOT_RUN: twin, "anew": twin}
    assert engine.asked == [SNAPSHOT_RUN, "forked", "anew"], "and no clean fork is run for it"


def test_where_clean_runs_differ_a_fork_is_compared_with_its_snapshot_run_though_it_ends_before() -> None:
    engine, twin = Engine(["forked", "anew", "snapshot_run-0"], {}), Twin(CLEAN, repeats=[OTHER])
    compared = _run(engine, twin)
    assert list(compared) == ["anew", SNAPSHOT_RUN, "forked"]
    assert compared["anew"] is twin
    assert compared["forked"].trajectory.digest == "snapshot_run"
    assert compared["forked"].deterministic


def test_clean_forks_that_stray_say_how_far_a_fork_may() -> None:
    strayed = {f"snapshot_run-{n}": str(n) for n in range(4)}
    twin = _run(Engine([], strayed), Twin(CLEAN, repeats=[OTHER]))["forked"]
    assert not twin.deterministic
    assert [run.digest for run in twin.repeats] == ["0", "1", "2", "3"]


def test_a_snapshot_run_that_can_not_be_copied_is_no_twin_of_what_begins_at_nothing() -> None:
    twin = Twin(CLEAN, repeats=[OTHER])
    compared = _run(Engine([], {}, copied=False), twin)
    assert all(one is twin for one in compared.values())


def test_where_nothing_is_forked_there_is_no_snapshot_run() -> None:
    engine = Engine([], {})
    assert list(_run(engine, Twin(CLEAN, repeats=[OTHER]), FAULTS[1:])) == ["anew"]
    assert engine.asked == ["anew"]


def test_an_engine_without_snapshots_is_asked_for_no_snapshot_run() -> None:
    engine, twin = Engine([], {}, copied=False), Twin(CLEAN, repeats=[OTHER])
    engine.capabilities = Capabilities()
    assert _run(engine, twin) == {"forked": twin, "anew": twin}
    assert engine.asked == ["forked", "anew"]
