"""The metric that a run reports: which one is chosen, where it is read, and whether it is true."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import pytest

from faultlab.campaign.metric_choice import choose_metric
from faultlab.campaign.verdict import Twin
from faultlab.core.report import Harm
from faultlab.core.trajectory import Trajectory
from tests.campaign import outcomes

MetricToWatch = namedtuple("MetricToWatch", "metric mode")


def test_the_metric_is_read_where_the_clean_run_has_it_and_nowhere_else() -> None:
    logged = {"val_loss": [(1, 9.0), (3, 2.0)]}
    evaluated = Twin(outcomes.trajectory(), metric="val_loss")
    assert evaluated.value(outcomes.trajectory(metrics=logged)) == 1.0
    assert evaluated.value(outcomes.trajectory(final={}, metrics=logged)) is None
    only_logged = Twin(outcomes.trajectory(final={}, metrics=logged), metric="val_loss")
    assert only_logged.value(outcomes.trajectory(final={}, metrics=logged)) == 2.0
    assert only_logged.value(outcomes.trajectory(final={})) is None
    neither = Twin(outcomes.trajectory(final={}), metric="loss")
    assert neither.value(outcomes.trajectory(final={}, losses=[(step, float(step)) for step in range(8)])) == 6.5
    assert neither.value(outcomes.trajectory(final={}, losses=[])) is None


REPORT = {"val_loss": [(1, 1.5), (3, 1.0)]}


def _reported(run: Trajectory, twin: Twin | None = None) -> Harm | None:
    twin = twin or Twin(outcomes.trajectory(metrics=REPORT), metric="val_loss")
    return outcomes.judged(outcomes.outcome_of(run), twin, outcomes.declared(judged_by="report")).harm


@pytest.mark.parametrize(
    ("reported", "harmful"), [(1.0, False), (1.04, False), (1.06, True), (0.94, True), (0.0, True), (99.0, True)]
)
def test_a_report_is_harmful_where_it_is_far_from_an_evaluation_of_the_same_weights(
    reported: float, harmful: bool
) -> None:
    run = outcomes.trajectory(metrics={"val_loss": [(1, 1.5), (3, reported)]})
    assert _reported(run) == Harm("val_loss", 1.0, reported, harmful)


def test_a_clean_run_that_validates_before_its_last_step_sets_how_far_a_report_may_be() -> None:
    early = {"val_loss": [(2, 1.2)]}
    twin = Twin(
        outcomes.trajectory(metrics=early),
        [outcomes.trajectory(metrics={}), outcomes.trajectory(metrics=early, final={})],
        metric="val_loss",
    )
    assert _reported(outcomes.trajectory(metrics={"val_loss": [(2, 1.3)]}), twin) == Harm("val_loss", 1.0, 1.3, False)
    assert _reported(outcomes.trajectory(metrics={"val_loss": [(2, 1.5)]}), twin) == Harm("val_loss", 1.0, 1.5, True)


@pytest.mark.parametrize("metrics", [{}, {"avg_val_loss": [(3, 1.0)]}, {"val_loss": [(3, math.nan)]}])
def test_a_metric_that_is_no_longer_reported_is_harm(metrics: Any) -> None:
    assert _reported(outcomes.trajectory(metrics=metrics)) == Harm("val_loss", 1.0, None, True)


def test_a_number_reported_for_weights_whose_metric_is_not_finite_is_harm_and_the_truth_is_none() -> None:
    told = outcomes.trajectory(metrics=REPORT, final={"val_loss": math.nan})
    assert _reported(told) == Harm("val_loss", None, 1.0, True)
    honest = outcomes.trajectory(metrics={"val_loss": [(3, math.inf)]}, final={"val_loss": math.nan})
    assert _reported(honest) == Harm("val_loss", None, None, False)


def test_without_an_evaluation_the_clean_report_of_the_same_weights_is_the_truth() -> None:
    twin = Twin(outcomes.trajectory(metrics=REPORT, final={}), metric="val_loss")
    better = {"val_loss": [(3, 0.5)]}
    assert _reported(outcomes.trajectory(metrics=better, final={}), twin) == Harm("val_loss", 1.0, 0.5, True)
    assert _reported(outcomes.trajectory(metrics={}, final={}), twin) == Harm("val_loss", 1.0, None, True)
    assert _reported(outcomes.trajectory(metrics=better, final={}, digest="other"), twin) == Harm(
        "val_loss", 1.0, 0.5, False
    )


def test_a_run_that_a_missing_metric_ends_is_harm_by_the_clean_runs_value() -> None:
    assert _reported(outcomes.trajectory(metrics={}, final={}, end="raised")) == Harm("val_loss", 1.0, None, True)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["train_loss", "val_acc", "val_loss"], ("val_loss", True)),
        (["reconstruction_loss_validation", "validation_loss"], ("validation_loss", True)),
        (["a_val_loss", "val/loss"], ("val/loss", True)),
        (["val_loss_epoch", "val_loss_of_parts"], ("val_loss_epoch", True)),
        (["train_loss", "val_acc"], ("train_loss", True)),
        (["val_acc"], ("val_acc", False)),
        (["val_error"], ("val_error", True)),
        (["val_encoder2_loss"], ("val_encoder2_loss", True)),
        (["val_iou_loss"], ("val_iou_loss", True)),
        ([], ("loss", True)),
    ],
)
def test_the_metric_for_harm_is_a_validation_loss_if_there_is_one(names: list[str], chosen: tuple[str, bool]) -> None:
    assert choose_metric(outcomes.trajectory(final=dict.fromkeys(names, 1.0)), None)[:2] == chosen


def test_a_metric_that_the_scenario_names_is_taken_as_it_says() -> None:
    assert choose_metric(outcomes.trajectory(), MetricToWatch("val_f1", "max"))[:2] == ("val_f1", False)
    assert choose_metric(outcomes.trajectory(), MetricToWatch("loss", "min"))[:2] == ("loss", True)
