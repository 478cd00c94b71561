"""What harm is measured by, and which way it gets better: who is asked, and who is believed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchmetrics.clustering

from faultlab.campaign.metric_choice import (
    Measure,
    choose_metric,
    decided,
    direction,
    lower_by_name,
    reported,
    undirected,
    unevaluated,
)
from faultlab.core import directions
from faultlab.core.trajectory import Trajectory

HIGHER = [
    "val/reward", "val_return", "val_map", "val_ndcg", "val_hit_rate", "val_mrr", "val_mcc", "val_dice",
    "val_corr", "val_log_likelihood", "val_elbo", "val_kappa", "val_spearman", "val_acc", "val_Accuracy",
    "MulticlassAccuracy", "ndcg@10", "acc1", "valAUROC", "val_R2Score", "test_success"
]  # fmt: skip
LOWER = [
    "loss", "val_loss", "val_error_rate", "val_iou_loss", "dice_loss", "val_perplexity", "MeanSquaredError",
    "fid_score", "neg_log_likelihood", "val_nll", "word_err", "crossentropy"
]  # fmt: skip


def _run(name: str, *values: float) -> Trajectory:
    return Trajectory(metrics={name: list(enumerate(values))})


@pytest.mark.parametrize(("names", "lower"), [(HIGHER, False), (LOWER, True), (["val_x", "mapping", "lossy"], None)])
def test_the_words_of_a_name_say_which_way_it_gets_better(names: list[str], lower: bool | None) -> None:
    assert {name: lower_by_name(name) for name in names} == dict.fromkeys(names, lower)


def test_what_torchmetrics_and_callbacks_declare_comes_first() -> None:
    said = {"EarlyStopping": "max", "Accuracy": "max"}
    assert direction("val_x", said, []) == (False, "EarlyStopping says max, Accuracy says max")
    assert direction("val_x", {"ReduceLROnPlateau": "min"}, [_run("val_x", 1.0, 2.0)])[0] is True


@pytest.mark.parametrize(
    ("name", "said"),
    [("val_acc", {"EarlyStopping": "min"}), ("val_x", {"EarlyStopping": "min", "Accuracy": "max"})],
)
def test_where_one_contradicts_another_the_direction_is_unknown(name: str, said: dict[str, str]) -> None:
    lower, why = direction(name, said, [])
    assert lower is None
    assert "contradictory" in why
    (told,) = undirected(choose_metric(Trajectory(final={name: 1.0}), None, {name: said}))
    assert (told["kind"], "in either direction" in told["what"]) == ("direction", True)


def test_that_the_clean_weights_can_not_be_evaluated_is_said_with_the_cause_and_a_remedy() -> None:
    measure = choose_metric(Trajectory(metrics={"val_loss": [(1, 1.0)]}), None)
    assert unevaluated(measure, "") == []
    (told,) = unevaluated(measure, "ValueError: no such stage")
    assert told["kind"] == "unevaluated"
    assert "ValueError: no such stage; harm is measured by the logged val_loss" in told["what"]
    assert told["remedy"]


@pytest.mark.parametrize(
    ("metric", "values", "by_hand", "kinds"),
    [
        ("val_loss", [0.9, 0.7, 0.8], True, ["reported"]),
        ("val_loss", [0.9, 0.7, 0.7, 0.6], True, ["reported", "best-so-far"]),
        ("best_val_loss", [0.6], True, ["reported", "best-so-far"]),
        ("val_loss", [0.9, 0.7, 0.7, 0.6], False, ["best-so-far"]),
        ("val_loss", [0.9, 0.7, 0.8], False, []),
    ],
)
def test_a_metric_that_only_the_training_reports_is_a_finding(
    metric: str, values: list[float], by_hand: bool, kinds: list[str]
) -> None:
    measure, clean = Measure(metric, True), Trajectory(metrics={metric: list(enumerate(values))})
    assert [told["kind"] for told in reported(measure, clean, by_hand)] == kinds
    evaluated = Trajectory(metrics=clean.metrics, final={metric: 0.6})
    assert reported(measure, evaluated, by_hand) == []


def test_clean_training_says_it_where_nobody_else_does() -> None:
    falling, rising = _run("val_x", 2.0, 1.0), _run("val_x", 1.0, 2.0)
    assert direction("val_x", {}, [falling, falling])[0] is True
    assert direction("val_x", {}, [rising])[0] is False
    assert direction("val_x", {}, [rising, falling]) == (None, "its better direction is unknown")
    assert direction("val_x", {}, [_run("val_x", 1.0, 1.001)])[0] is None
    assert direction("val_x", {}, [])[0] is None


def test_a_score_that_training_lowers_has_no_direction_and_a_loss_that_overfits_keeps_its_own() -> None:
    assert direction("val_score", {}, [_run("val_score", 2.0, 1.0)])[0] is None
    assert direction("val_loss", {}, [_run("val_loss", 1.0, 2.0)])[0] is True


def test_of_losses_alike_the_one_that_a_callback_monitors_is_taken() -> None:
    run = Trajectory(final={"a_val_loss": 1.0, "b_val_loss": 1.0})
    assert choose_metric(run, None).metric == "a_val_loss"
    assert choose_metric(run, None, {"b_val_loss": {"EarlyStopping": "min"}}).metric == "b_val_loss"


def test_what_is_declared_of_a_name_holds_for_what_lightning_makes_of_it() -> None:
    run = Trajectory(final={"val_x_epoch/dataloader_idx_0": 1.0})
    assert choose_metric(run, None, {"val_x": {"MeanMetric": "max"}}).lower_is_better is False


def test_callbacks_schedulers_and_metrics_are_read_by_what_they_have() -> None:
    metric: Any = type("Recall", (), {"higher_is_better": True})()
    undecided: Any = type("Mean", (), {"higher_is_better": None})()
    assert directions.of_metric(metric) == {"Recall": "max"}
    assert directions.of_metric(undecided) == directions.of_metric(3.0) == {}
    stopping: Any = type("Stopping", (), {"monitor": "val_x", "mode": "min"})()
    other: Any = type("Stopping", (), {"monitor": "val_x", "mode": "max"})()
    quiet: Any = type("Quiet", (), {"monitor": None, "mode": "min"})()
    plateau: Any = type("Plateau", (), {"mode": "max"})()
    trainer = SimpleNamespace(
        callbacks=[stopping, other, quiet],
        lr_scheduler_configs=[SimpleNamespace(scheduler=plateau, monitor="val_acc"),
                              SimpleNamespace(scheduler=object(), monitor="val_loss")],
    )  # fmt: skip
    found = directions.merged(directions.of_trainer(trainer))
    assert found == {"val_x": {"Stopping": "min", "another Stopping": "max"}, "val_acc": {"Plateau": "max"}}


def test_a_metric_that_declares_the_opposite_of_what_it_computes_is_not_believed() -> None:
    clusters = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    metric = torchmetrics.clustering.DaviesBouldinScore()
    apart, together = (float(metric(clusters + far * labels[:, None], labels)) for far in (100, 1))
    assert apart < together, "lower is better"
    assert metric.higher_is_better, "though torchmetrics says otherwise; where it no longer does, ask it again"
    assert directions.of_metric(metric) == {}


def test_metrics_that_compare_predictions_with_labels_are_known_by_their_names() -> None:
    assert list(decided(["val_loss", "val_acc", "kl", "val_mse"])) == ["val_acc", "val_mse"]
