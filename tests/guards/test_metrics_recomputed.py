"""MetricsRecomputed: the validation metric, recomputed independently on the same batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import MetricsRecomputed
from tests.guards.rig import Healthy, alarm_of, fit, points


class Reporting(Healthy):
    """Reports the validation loss as a test asks for it."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("val_loss", self.reported(loss))

    def reported(self, loss: torch.Tensor) -> Any:
        return loss


def test_an_old_value_is_detected() -> None:
    class Old(Reporting):
        first: Any = None

        def reported(self, loss: torch.Tensor) -> Any:
            self.first = loss if self.first is None else self.first
            return self.first

    one_batch = DataLoader(points(64, seed=1), batch_size=64)
    alarm = alarm_of(MetricsRecomputed(), Old(), validation=one_batch)
    assert alarm is not None
    assert alarm.check == "differs"
    assert "64 samples" in alarm.found


def test_the_loss_of_training_is_detected_in_its_place() -> None:
    class Training(Reporting):
        def reported(self, loss: torch.Tensor) -> Any:
            return self.trainer.callback_metrics.get("train_loss", loss)

    assert alarm_of(MetricsRecomputed(), Training()) is not None


def test_the_mean_of_means_is_detected_before_training() -> None:
    class Averaging(Reporting):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]), batch_size=1)

    uneven = DataLoader(points(34, seed=1), batch_size=32)
    alarm = alarm_of(MetricsRecomputed(), module := Averaging(), validation=uneven)
    assert alarm is not None
    assert alarm.check == "mean-of-means"
    assert module.global_step == 0
    fit(MetricsRecomputed(), Reporting(), validation=uneven)


@pytest.mark.parametrize("strict", [True, False])
def test_losses_that_differ_by_design_are_allowed_unless_they_must_not(strict: bool) -> None:
    class Smoothed(Reporting):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.3)

    assert (alarm_of(MetricsRecomputed(strict=strict), Smoothed()) is not None) == strict


def test_a_metric_of_any_kind_can_be_recomputed_by_the_users_own_function() -> None:
    def accuracy(module: Any, batch: Any) -> torch.Tensor:
        return (module(batch[0]).argmax(dim=1) == batch[1]).float().mean()

    class Wrong(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_accuracy", (self(batch[0]).argmax(dim=1) == 0).float().mean())

    guard = MetricsRecomputed("val_accuracy", accuracy)
    fit(guard)
    assert alarm_of(guard, Wrong()) is not None


def test_a_metric_other_than_a_loss_is_allowed() -> None:
    fit(MetricsRecomputed("val_accuracy"))


def test_another_precision_is_allowed() -> None:
    fit(MetricsRecomputed(), precision="bf16-mixed")


def test_a_module_that_cannot_be_copied_is_allowed() -> None:
    class Uncopied(Reporting):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("can't be copied")

    fit(MetricsRecomputed(), Uncopied())


class Weighed(Reporting):
    """Has a training loss that equals that of validation until its weight is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * self.log_weight.exp() - self.log_weight


def test_a_loss_that_is_the_same_at_the_beginning_alone_is_allowed() -> None:
    fit(MetricsRecomputed(), Weighed(), max_epochs=4)


def test_smoothed_labels_before_anything_is_learnt_are_allowed() -> None:
    class Smoothed(Reporting):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.1)

    module = Smoothed()
    nn.init.normal_(module.head.weight, std=1e-3), nn.init.zeros_(module.head.bias)
    fit(MetricsRecomputed(), module, max_epochs=4)
