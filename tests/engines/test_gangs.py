"""Runs of several ranks: born together, the same to the bit wherever they begin, and gone together."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.fault import Fault
from faultlab.core.orders import Order, Train
from faultlab.core.report import Status
from faultlab.core.results import Outcome
from faultlab.engines import Engine, create
from faultlab.engines.processes import children_of
from tests.lab import Lab

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
SPAWNED = pytest.mark.nightly(reason="two fresh interpreters a run; the quick ring has the same runs as forks")
THREE = pytest.mark.nightly(reason="three ranks; the quick ring has two")
MODEL = "tests.zoo.ranked.ranked"


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=THREE)])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    engine = create("fork", 2)
    yield Lab.of_ranks(engine, request.param, MODEL)
    engine.close()


@pytest.fixture(scope="module")
def outcomes(lab: Lab) -> dict[str, Outcome]:
    never = "step.raises@step=1000000"
    faults = [
        "distributed.gradients-unsynchronised",
        "distributed.rank-killed@step=3,rank=1",
        "distributed.rank-raises@step=3,rank=1",
        "distributed.rank-hangs@step=3,rank=1",
        "distributed.timeout-swallowed@step=3",
        "weights.reinitialised@step=3,rank=1",
    ]
    return lab.run([never, *faults], at=3, deadline=60.0)


def test_an_unbroken_gang_that_is_forked_midway_ends_as_its_trunk_on_every_rank(
    lab: Lab, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes["step.raises@step=1000000"]
    assert [run.born for run in outcome.runs] == [3] * len(outcome.results)
    assert lab.is_clean(outcome)
    (clean,) = lab.engine.run([lab.order("clean-again", Train(0))])
    assert [run.trajectory for run in outcome.runs] == [run.trajectory for run in clean.runs]
    assert {run.states["parameters"] for run in outcome.runs} == {clean.runs[0].states["parameters"]}


def test_a_fault_on_one_rank_acts_on_that_rank(outcomes: dict[str, Outcome]) -> None:
    acted = [run.activations for run in outcomes["weights.reinitialised@step=3,rank=1"].runs]
    assert acted == [0, 1] + [0] * (len(acted) - 2)


def test_ranks_that_move_apart_are_told_and_harmful(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    judged = lab.judge(outcomes["distributed.gradients-unsynchronised"])
    assert judged.status is Status.SILENT
    assert "the ranks end with different parameters" in judged.reason
    assert judged.harm is not None
    assert judged.harm.harmful


def test_ranks_agree_raises_on_every_rank_at_once_and_is_quiet_on_a_clean_gang(lab: Lab) -> None:
    advice = {"only": ["RanksAgree"], "everywhere": True}
    fault = Fault.parse("distributed.parameters-diverge@step=3,rank=1")
    clean = lab.order("watched", Train(0, advice=advice))
    broken = lab.order(str(fault), Train(0, fault, profile=lab.profile, advice=advice), at="fit")
    quiet, told = (next(iter(lab.engine.run([one]))) for one in (clean, broken))
    assert [run.advice and run.advice.alarms for run in quiet.runs] == [()] * lab.profile.ranks
    for run in told.runs:
        assert run.advice is not None
        first = run.advice.alarms[0]
        assert (first.name, first.step) == ("RanksAgree", 3)
        assert "rank 1 has other parameters than rank 0" in first.message
    assert not told.timed_out


def test_the_end_of_a_rank_and_what_the_others_raise_are_detections_with_their_ranks(
    lab: Lab, outcomes: dict[str, Outcome]
) -> None:
    killed = lab.judge(outcomes["distributed.rank-killed@step=3,rank=1"])
    assert [(one.name, one.rank) for one in killed.detected_by if one.kind == "process"] == [("exit", 1)]
    assert "the process of rank 1 was killed by SIGKILL" in [one.message for one in killed.detected_by]
    raised = lab.judge(outcomes["distributed.rank-raises@step=3,rank=1"])
    own = [one for one in raised.detected_by if "injected by" in one.message]
    assert [(one.rank, one.latency) for one in own] == [(1, 0)]
    assert 0 in {one.rank for one in raised.detected_by} or None in {one.rank for one in raised.detected_by}


def test_a_hang_is_named_by_rank_collective_and_step_with_what_stock_torch_waits(
    lab: Lab, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes["distributed.rank-hangs@step=3,rank=1"]
    assert outcome.timed_out
    judged = lab.judge(outcome)
    assert judged.status is Status.DETECTED
    said = judged.detected_by[0].message
    assert "rank 0 waits in " in said or "each of the ranks 0, 2 waits in " in said
    assert re.search(r"in step 3\); rank 1 has not entered (it|them), after ", said)
    assert "torch waits 1,800 s" in said


def test_a_timeout_that_the_training_catches_is_named_by_the_collective_that_it_ended(
    lab: Lab, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes["distributed.timeout-swallowed@step=3"]
    assert outcome.timed_out
    assert "in broadcast" in lab.judge(outcome).detected_by[0].message
    assert "in step 3" in lab.judge(outcome).detected_by[0].message


def test_nothing_is_left_of_a_gang(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    assert not list(Path(lab.engine.root).glob("meeting-*"))
    construct = lab.engine._link("construct")  # type: ignore[attr-defined]
    snapshots = {link.pid for link in lab.engine._links}  # type: ignore[attr-defined]
    assert children_of(construct.pid) <= snapshots


def test_ranks_whose_fork_server_is_killed_are_ended_and_run_again(lab: Lab) -> None:
    engine: Any = lab.engine
    shot: list[int] = []
    give = engine._gangs.give

    def giving(order: Order, servers: Any) -> None:
        give(order, servers)
        if not shot:
            shot.append(servers[0].pid)
            os.kill(servers[0].pid, signal.SIGKILL)

    engine._gangs.give = giving
    try:
        (outcome,) = engine.run([lab.order("shot", Train(0))])
    finally:
        engine._gangs.give = give
    assert shot
    assert outcome.trajectory is not None
    assert outcome.trajectory.same_as(lab.trajectory)


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_find_unused_parameters_true"])
@pytest.mark.nightly(reason="the quick ring has the strategy ddp")
def test_other_names_of_ddp_train_on_the_same_ranks(strategy: str) -> None:
    engine = create("fork", 2)
    try:
        lab = Lab.of_ranks(engine, 2, MODEL, strategy)
        (outcome,) = lab.run(["step.raises@step=1000000"], at=3).values()
        assert lab.is_clean(outcome)
        assert len(outcome.runs) == 2
    finally:
        engine.close()


@SPAWNED
def test_spawned_gangs_have_the_verdicts_of_forked_ones(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    if lab.profile.ranks != 2:
        pytest.skip("two ranks are enough")
    spawning: Engine = create("spawn", 2)
    try:
        other = Lab.of_ranks(spawning, 2, MODEL)
        assert other.trajectory.same_as(lab.trajectory)
        for id, outcome in other.run(list(outcomes), at="construct", deadline=60.0).items():
            one, forked = other.judge(outcome), lab.judge(outcomes[id])
            # A fault that always acts has acted since the first step here, and since the fork there.
            assert one.status == forked.status, id
            assert bool(one.activations) == bool(forked.activations), id
    finally:
        spawning.close()


@pytest.mark.parametrize("mode", ["zero-loss-on-one-rank@step=3,rank=1", "checkpoint-on-rank-zero@step=3,rank=0"])
def test_ranks_in_different_collectives_of_one_place_do_not_wait_for_their_whole_patience(mode: str, lab: Lab) -> None:
    patience = 8.0
    fault = f"distributed.{mode}"
    (outcome,) = lab.run([fault], at=3, hang_deadline=2 * patience).values()
    judged = lab.judge(outcome)
    assert judged.status is Status.DETECTED
    said = judged.detected_by[0].message
    if len(outcome.results) > 2:
        # Two of them may complete a collective without the third, and wait for it in the next one.
        assert re.search(r"the ranks wait for each other: .* in step 3\)", said), said
        return
    where = r"rank 0 in (\w+) \(its (\w+) collective.*rank 1 in (?!\1)\w+ \(its \2 collective"
    assert re.search(where, said), said
    assert outcome.seconds < patience
    # That a connection is closed to a rank that has lost patience says nothing.
    assert not [one.message for one in judged.detected_by if "gloo" in one.message]


def test_a_rank_that_is_only_late_is_waited_for(lab: Lab) -> None:
    patience = 1.5
    fault = "distributed.rank-hangs@step=3,rank=1"
    (outcome,) = lab.run([fault], at=3, hang_deadline=2 * patience).values()
    assert outcome.seconds >= patience


def test_a_driver_that_is_killed_leaves_no_rank(tmp_path: Path) -> None:
    engine = create("fork", 2)
    lab = Lab.of_ranks(engine, 2, MODEL)
    construct = engine._link("construct")  # type: ignore[attr-defined]
    engine._gangs.give(lab.order("abandoned", Train(0)), [construct, construct])  # type: ignore[attr-defined]
    while not (born := children_of(construct.pid)):
        time.sleep(0.01)
    engine.close()
    until = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in born) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in born if Path(f"/proc/{pid}").exists()]
