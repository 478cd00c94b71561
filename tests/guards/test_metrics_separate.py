"""MetricsSeparate: one metric object in two stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from faultlab.guards import MetricsSeparate
from tests.guards.rig import Healthy, alarm_of, fit


class Shared(Healthy):
    """Updates one object in both stages; a test decides how it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = MulticlassAccuracy(2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        logits = self(batch[0])
        self.seen("train", logits, batch[1])
        return F.cross_entropy(logits, batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen("val", self(batch[0]), batch[1])

    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        raise NotImplementedError


class Logged(Shared):
    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        self.metric.update(logits, labels)
        self.log(f"{stage}_accuracy", self.metric, on_step=False, on_epoch=True)


class LoggedInValidation(Shared):
    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        value = self.metric(logits, labels)
        self.log(f"{stage}_accuracy", value if stage == "train" else self.metric)


class LoggedInTraining(Shared):
    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        value = self.metric(logits, labels)
        self.log(f"{stage}_accuracy", self.metric if stage == "train" else value, on_step=False, on_epoch=True)


class LoggedCollection(Shared):
    def __init__(self) -> None:
        super().__init__()
        self.metric = MetricCollection([MulticlassAccuracy(2)])  # type: ignore[assignment]

    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        self.metric.update(logits, labels)
        self.log_dict(self.metric, on_step=False, on_epoch=True)  # type: ignore[arg-type]


class Computed(Shared):
    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        self.metric.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        self.log("val_accuracy", self.metric.compute())


class ValuesOfBatches(Shared):
    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        self.log(f"{stage}_accuracy", self.metric(logits, labels))


class Reset(Computed):
    def on_validation_epoch_start(self) -> None:
        self.metric.reset()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.metric.reset()


class Separate(Logged):
    def __init__(self) -> None:
        super().__init__()
        self.metrics = torch.nn.ModuleDict({f"of_{stage}": MulticlassAccuracy(2) for stage in ("train", "val")})

    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        metric: Any = self.metrics[f"of_{stage}"]
        metric.update(logits, labels)
        self.log(f"{stage}_accuracy", metric, on_step=False, on_epoch=True)


class TrainingAlone(Separate):
    """Counts in training, over all epochs, and uses another object in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.lasting = MeanMetric()

    def seen(self, stage: str, logits: Tensor, labels: Tensor) -> None:
        super().seen(stage, logits, labels)
        if stage == "train":
            self.lasting.update(logits.mean())
        elif self.lasting.update_called:
            self.lasting.compute()


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (Logged, "validation-mixed"),
        (LoggedCollection, "validation-mixed"),
        (LoggedInTraining, "training-mixed"),
        (LoggedInValidation, "validation-mixed"),
        (Computed, "validation-mixed"),
    ],
)
def test_an_object_that_gathers_both_stages_is_detected(make: Any, check: str) -> None:
    alarm = alarm_of(MetricsSeparate(), make(), num_sanity_val_steps=0)
    assert alarm is not None
    assert alarm.check == check
    assert "metric" in alarm.found


@pytest.mark.parametrize("make", [ValuesOfBatches, Reset, Separate, TrainingAlone, Healthy])
@pytest.mark.parametrize("trainer", [{}, {"val_check_interval": 0.5}])
def test_objects_that_gather_one_stage_or_are_asked_for_batches_are_allowed(make: Any, trainer: Any) -> None:
    fit(MetricsSeparate(), make(), max_epochs=3, **trainer)
