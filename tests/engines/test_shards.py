"""Ranks that share the parameters, by FSDP2 or by tensor parallelism: forked to the bit, broken part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from faultlab.api import run
from faultlab.core.orders import Train
from faultlab.core.report import INCONCLUSIVE, Status
from faultlab.core.results import Outcome
from faultlab.engines import create
from tests.findings import FACTORIES, RANKED
from tests.lab import Lab

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
SPLIT = pytest.mark.nightly(reason="tensor parallelism; the quick ring has FSDP2")
SPAWNED = pytest.mark.nightly(reason="two fresh interpreters a run; the quick ring has the same runs as forks")
WHOLE = pytest.mark.nightly(reason="the whole catalogue on two ranks")
NEVER = "step.raises@step=1000000"
ROOT = Path(__file__).parents[2]


def opened(model: str, kind: str = "fork") -> Iterator[Lab]:
    engine = create(kind, 2)
    try:
        yield Lab.of_ranks(engine, 2, FACTORIES[model], RANKED[model])
    finally:
        engine.close()


@pytest.fixture(scope="module", params=["sharded", pytest.param("split", marks=SPLIT)])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from opened(request.param)


@pytest.fixture(scope="module")
def outcomes(lab: Lab) -> dict[str, Outcome]:
    return lab.run([NEVER, "weights.shuffled@step=3,rank=1", "gradient.zero@step=3"], at=3, deadline=60.0)


def test_an_unbroken_gang_that_is_forked_midway_ends_as_its_trunk_on_every_rank(
    lab: Lab, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[NEVER]
    assert [run.born for run in outcome.runs] == [3, 3]
    assert lab.is_clean(outcome)


def test_the_model_that_is_evaluated_is_whole(lab: Lab) -> None:
    # The ranks' shares of the validation data are equal, so its loss is the mean of theirs.
    (_, logged) = lab.trajectory.metrics["val_loss"][-1]
    assert lab.trajectory.final["val_loss"] == pytest.approx(logged, rel=1e-5)
    assert lab.profile.sharded


@pytest.mark.parametrize(
    ("fault", "activations"), [("weights.shuffled@step=3,rank=1", [0, 1]), ("gradient.zero@step=3", [1, 1])]
)
def test_a_fault_changes_the_shards_of_its_ranks(
    lab: Lab, outcomes: dict[str, Outcome], fault: str, activations: list[int]
) -> None:
    outcome = outcomes[fault]
    assert [run.activations for run in outcome.runs] == activations
    judged = lab.judge(outcome)
    assert judged.status is Status.SILENT
    # All ranks have the same model in the end, put together from their shards.
    assert len({run.states["parameters"] for run in outcome.runs}) == 1
    assert outcome.trajectory is not None
    assert outcome.trajectory.digest != lab.trajectory.digest


def test_ranks_agree_compares_what_is_whole_on_each_rank_and_is_quiet(lab: Lab) -> None:
    advice = {"only": ["RanksAgree"], "everywhere": True}
    (outcome,) = lab.engine.run([lab.order("watched", Train(0, advice=advice))])
    for one in outcome.runs:
        assert one.advice is not None
        assert (one.advice.alarms, one.advice.broken, one.advice.idle) == ((), {}, {})


@SPAWNED
def test_spawned_gangs_have_the_verdicts_of_forked_ones(lab: Lab, outcomes: dict[str, Outcome]) -> None:
    if lab.profile.sharded == "fully":
        for other in opened("sharded", "spawn"):
            assert other.trajectory.same_as(lab.trajectory)
            for id, outcome in other.run(list(outcomes), at="construct", deadline=60.0).items():
                assert other.judge(outcome).status == lab.judge(outcomes[id]).status, id


@WHOLE
@pytest.mark.timeout(1800)
def test_the_whole_catalogue_is_judged_on_a_transformer_with_fsdp2(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "scenarios/text/fsdp2.yaml").read_text())
    del content["faults"]
    scenario = tmp_path / "whole.yaml"
    scenario.write_text(yaml.safe_dump(content))
    report = run(scenario)
    assert not [(fault.id, fault.reason) for fault in report.faults if fault.status in INCONCLUSIVE]
