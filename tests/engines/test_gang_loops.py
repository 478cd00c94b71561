"""Loops on several ranks: their own process groups join the run's ranks, and move with them to a fork midway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch._dynamo  # which every copy of this process would import, for its optimizer  # noqa: F401

from faultlab.core.orders import Train
from faultlab.core.report import Status
from faultlab.core.results import Outcome
from faultlab.engines import create
from faultlab.errors import TargetError
from faultlab.frameworks.loops.target import LoopTarget
from tests.lab import ROOT, Lab

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
ZOO = "tests.zoo.ranked_loops"
NEVER = "weights.reinitialised@step=1000000"


def opened(name: str, ranks: int = 2, **init_args: Any) -> LoopTarget:
    entry = {"class_path": f"{ZOO}.{name}", "init_args": init_args}
    return LoopTarget({"train": entry, "ranks": ranks, "path": [str(ROOT)]})


def bench(engine: Any, name: str, ranks: int = 2) -> Lab:
    parts = {"step": f"{ZOO}.train_step", "evaluate": {"class_path": f"{ZOO}.evaluate"}}
    return Lab.of_loop(engine, train={"class_path": f"{ZOO}.{name}", "init_args": {}}, ranks=ranks, **parts)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    engine = create("fork", 2)
    yield bench(engine, "ddp")
    engine.close()


@pytest.fixture(scope="module")
def outcomes(lab: Lab) -> dict[str, Outcome]:
    faults = [
        "distributed.gradients-unsynchronised",
        "distributed.sampler-no-epoch",
        "distributed.reduce-op-wrong@step=3",
        "distributed.none-on-one-rank@step=3,rank=1",
        "distributed.rank-killed@step=3,rank=1",
        "distributed.rank-hangs@step=3,rank=1",
        "weights.reinitialised@step=3,rank=1",
    ]
    return lab.run([NEVER, *faults], at=3, deadline=60.0)


def test_a_loop_that_is_forked_midway_ends_as_its_trunk_on_every_rank(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[NEVER]
    assert [run.born for run in outcome.runs] == [3, 3]
    assert lab.is_clean(outcome)
    (clean,) = lab.engine.run([lab.order("clean-again", Train(0))])
    assert [run.trajectory for run in outcome.runs] == [run.trajectory for run in clean.runs]
    assert {run.states["parameters"] for run in outcome.runs} == {clean.runs[0].states["parameters"]}


@pytest.mark.nightly(reason="an engine of its own; the quick ring has watched loops on ranks without faults")
def test_a_loop_that_watches_itself_is_observed_on_all_ranks_and_forked_between_its_meetings() -> None:
    engine = create("fork", 2)
    try:
        lab = bench(engine, "watched")
        apart = "distributed.gradients-unsynchronised"
        for place in ("construct", 0, 3):
            outcomes = lab.run([NEVER, apart], at=place, deadline=60.0)
            assert lab.is_clean(outcomes[NEVER]), place
            judged = lab.judge(outcomes[apart])
            assert (judged.status, judged.detected_by[0].name) == (Status.DETECTED, "RanksAgree"), place
    finally:
        engine.close()


def test_the_profile_of_a_loop_has_its_ranks_and_its_sampler(lab: Lab) -> None:
    assert (lab.profile.ranks, lab.profile.shards) == (2, True)


def test_faults_of_ranks_act_on_a_loop_as_on_a_trainer(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    judged = {id.partition("@")[0]: lab.judge(outcome) for id, outcome in outcomes.items()}
    apart = judged["distributed.gradients-unsynchronised"]
    assert (apart.status, apart.harm and apart.harm.harmful) == (Status.SILENT, True)
    assert "the ranks end with different parameters" in apart.reason
    assert judged["distributed.sampler-no-epoch"].status is Status.SILENT
    assert judged["distributed.reduce-op-wrong"].activations
    acted = [run.activations for run in outcomes["weights.reinitialised@step=3,rank=1"].runs]
    assert acted == [0, 1]
    none = judged["distributed.none-on-one-rank"]
    assert none.status is Status.DETECTED
    assert 1 in {one.rank for one in none.detected_by if "NoneType" in one.message}
    assert "killed by SIGKILL" in str([one.message for one in judged["distributed.rank-killed"].detected_by])
    hung = judged["distributed.rank-hangs"]
    assert hung.status is Status.DETECTED
    assert "rank 0 waits in " in hung.detected_by[0].message
    assert "in step 3); rank 1 has not entered it, after " in hung.detected_by[0].message


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("by_hand", 2),
        ("spawned", 2),
        pytest.param("by_hand", 3, marks=pytest.mark.nightly(reason="three ranks; the quick ring has two")),
    ],
)
def test_groups_that_a_loop_makes_are_connected_anew_in_a_fork_midway(name: str, ranks: int) -> None:
    engine = create("fork", 2)
    try:
        loop = bench(engine, name, ranks)
        forked = loop.run([NEVER], at=3, deadline=60.0)[NEVER]
        assert [run.born for run in forked.runs] == [3] * ranks, forked.output
        assert loop.is_clean(forked)
        assert len({run.states["parameters"] for run in forked.runs}) == 1
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("name", "ranks", "more", "said"),
    [
        ("ddp", 1, {}, ("train", "it joins a process group", "Add `ranks: 2`")),
        ("spawned", 1, {}, ("train", "it starts 2 processes by torch.multiprocessing.spawn", "Add `ranks: 2`")),
        ("spawned", 2, {"processes": 3}, ("ranks", "the training starts 3 processes", "Set `ranks: 3`")),
        ("alone", 2, {}, ("ranks", "each rank would train alone", "remove `ranks`")),
        ("four", 2, {}, ("ranks", "init_process_group has world_size=4", "read WORLD_SIZE")),
        ("four", 2, {"rank": 1}, ("ranks", "init_process_group has rank=1 in the process of rank 0", "RANK")),
        ("launched", 2, {}, ("train", "it started ", "Name the script that it launches, with `ranks: 2`")),
        ("launched", 1, {}, ("train", "it started ", "Name the script that it launches, with `ranks: 2`")),
        ("forked", 1, {}, ("train", "it started a process that calls _work", "start them by torch.multiprocessing")),
        ("one_fails", 2, {}, ("train", "on rank 1 with ValueError: the data of rank 1 is missing", "to its end")),
    ],
)
def test_a_loop_that_does_not_fit_its_ranks_is_a_message_and_not_a_hang(
    name: str, ranks: int, more: dict[str, Any], said: tuple[str, str, str]
) -> None:
    with pytest.raises(TargetError) as refused:
        _ = opened(name, ranks, **more).layout
    where, message, remedy = said
    assert (refused.value.where[0], message in refused.value.message) == (where, True), refused.value.message
    assert remedy in refused.value.remedy


@pytest.mark.nightly(reason="two fresh interpreters a run; the quick ring has forks")
def test_spawned_loops_have_the_verdicts_of_forked_ones(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    engine = create("spawn", 2)
    try:
        other = bench(engine, "ddp")
        assert other.trajectory.same_as(lab.trajectory)
        for id, outcome in other.run(list(outcomes), at="construct", deadline=60.0).items():
            assert other.judge(outcome).status == lab.judge(outcomes[id]).status, id
    finally:
        engine.close()
