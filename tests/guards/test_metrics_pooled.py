"""MetricsPooled: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchmetrics
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab import guards
from faultlab.guards import MetricsPooled
from tests.guards.rig import Healthy, alarm_of, fit, points


class Measured(Healthy):
    """Logs a metric by its values for the batches, as an object, or computed at the end."""

    def __init__(self, metric: Any, how: str) -> None:
        super().__init__()
        self.score = metric
        self.how = how

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if self.how == "updated":
            self.score.update(self(batch[0]), batch[1])
            return
        value = self.score(self(batch[0]), batch[1])
        if self.how != "at the end":
            self.log("val_score", value if self.how == "values" else self.score)

    def on_validation_epoch_end(self) -> None:
        if self.how in ("at the end", "updated"):
            self.log("val_score", self.score.compute())
            self.score.reset()


def validation() -> DataLoader[Any]:
    return DataLoader(points(70, seed=1), batch_size=8)


def f1() -> Any:
    return torchmetrics.classification.MulticlassF1Score(2, average="macro")


@pytest.mark.parametrize("metric", [f1, lambda: torchmetrics.classification.MulticlassAUROC(2)])
def test_a_logged_mean_of_the_values_of_batches_is_detected(metric: Any) -> None:
    torch.manual_seed(0)
    alarm = alarm_of(MetricsPooled(), Measured(metric(), "values"), validation=validation(), max_epochs=1)
    assert alarm is not None
    assert "val_score is" in alarm.found
    assert "returned for 9 batches" in alarm.found


def test_it_is_detected_by_all_guards_together() -> None:
    torch.manual_seed(0)
    alarm = alarm_of(guards.all("full"), Measured(f1(), "values"), validation=validation(), max_epochs=1)
    assert alarm is not None
    assert alarm.guard == "MetricsPooled"


@pytest.mark.parametrize("how", ["object", "at the end", "updated"])
def test_a_metric_of_all_samples_is_allowed(how: str) -> None:
    fit(guard := MetricsPooled(), Measured(f1(), how), validation=validation())
    assert guard.looked == (how != "updated")


def test_a_mean_that_is_the_metric_of_all_samples_is_allowed() -> None:
    micro = torchmetrics.classification.MulticlassAccuracy(2, average="micro")
    fit(guard := MetricsPooled(), module := Measured(micro, "values"), validation=validation())
    assert guard.looked
    assert not module.score._forward_hooks


def test_the_mean_of_values_of_single_samples_is_allowed() -> None:
    class Sharpness(Measured):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_score", self.score(self(batch[0]), F.one_hot(batch[1], 2).float()))

    loader = DataLoader(points(16, seed=1), batch_size=1)
    fit(MetricsPooled(), Sharpness(torchmetrics.image.PeakSignalNoiseRatio(1.0), "values"), validation=loader)


def test_other_parts_are_not_metrics() -> None:
    fit(guard := MetricsPooled(), Measured(nn.CrossEntropyLoss(), "values"), validation=validation())
    assert not guard.looked
    assert torch.is_grad_enabled()
