"""NormalisationAlive: running statistics that don't move, are invalid, or are overwritten."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab.guards import NormalisationAlive
from tests.guards.rig import Healthy, alarm_of, fit


class Touching(Healthy):
    """Does something to its normalization in the fourth step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 3:
            self.touch(self.body[1])
        return super().training_step(batch, batch_idx)

    def touch(self, layer: Any) -> None:
        """Do nothing."""


def test_a_momentum_of_zero_is_detected_before_the_first_step() -> None:
    module = Healthy()
    module.body[1].momentum = 0.0
    alarm = alarm_of(NormalisationAlive(), module)
    assert alarm is not None
    assert alarm.check == "no-momentum"
    assert "body.1" in alarm.found


@pytest.mark.parametrize("statistic", ["running_mean", "running_var"])
def test_statistics_that_are_not_finite_are_detected_at_that_step(statistic: str) -> None:
    class Breaking(Touching):
        def touch(self, layer: Any) -> None:
            getattr(layer, statistic)[0] = torch.nan

    alarm = alarm_of(NormalisationAlive(), module := Breaking())
    assert alarm is not None
    assert alarm.check == "not-finite"
    assert module.global_step in (3, 4)


def test_statistics_that_are_overwritten_are_detected_at_that_step() -> None:
    class Writing(Touching):
        def touch(self, layer: Any) -> None:
            layer.running_mean.add_(0.1)

    alarm = alarm_of(NormalisationAlive(), module := Writing())
    assert alarm is not None
    assert alarm.check == "overwritten"
    assert module.global_step in (3, 4)


def test_layers_that_never_run_are_detected_at_the_end_of_the_epoch() -> None:
    class Passing(Healthy):
        def forward(self, inputs: Any) -> Any:
            return self.head(self.body[0](inputs))

    alarm = alarm_of(NormalisationAlive(), Passing(), max_epochs=5)
    assert alarm is not None
    assert alarm.check == "standstill"


def test_a_negative_variance_is_detected() -> None:
    class Negative(Healthy):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.body[1].running_var.fill_(-1.0)

    alarm = alarm_of(NormalisationAlive(leave_out=["overwritten"]), Negative())
    assert alarm is not None
    assert alarm.check == "not-finite"


def test_statistics_that_move_in_validation_are_detected() -> None:
    class Training(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.train()
            return super().validation_step(batch, batch_idx)

    alarm = alarm_of(NormalisationAlive(), Training())
    assert alarm is not None
    assert alarm.check == "moved-in-validation"


def test_frozen_layers_and_those_that_follow_another_network_are_allowed() -> None:
    class Following(Touching):
        def __init__(self) -> None:
            super().__init__()
            self.body[1].requires_grad_(False)

        def touch(self, layer: Any) -> None:
            layer.running_mean.mul_(0.9)

    class Frozen(Healthy):
        def on_train_start(self) -> None:
            self.body[1].eval()

    fit(NormalisationAlive(), Following())
    fit(NormalisationAlive(), Frozen())


def test_a_write_between_steps_is_allowed() -> None:
    class Swapping(Healthy):
        def on_train_epoch_end(self) -> None:
            self.body[1].running_mean.mul_(0.9)

    fit(NormalisationAlive(), Swapping())


def test_layers_that_are_frozen_half_way_are_allowed() -> None:
    class Freezing(Healthy):
        def on_train_epoch_end(self) -> None:
            self.body[1].requires_grad_(False)

    fit(NormalisationAlive(), Freezing(), limit_train_batches=2, max_epochs=3)


def test_a_backward_before_the_first_batch_of_an_epoch_is_allowed_after_layers_were_frozen() -> None:
    class Warming(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.manual_backward(super().training_step(batch, batch_idx))
            self.optimizers().step()

        def on_train_epoch_start(self) -> None:
            if self.current_epoch:
                self.manual_backward(self.head(torch.ones(4, 8)).sum())

        def on_train_epoch_end(self) -> None:
            self.body.eval()

    fit(NormalisationAlive(), Warming())
