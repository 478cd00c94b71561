"""DropoutAlive: dropout of everything, of nothing, or at the wrong time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab.guards import DropoutAlive
from tests.guards.rig import Healthy, alarm_of, fit, loaders


def with_rate(rate: float) -> Healthy:
    module = Healthy()
    module.body[3].p = rate
    return module


@pytest.mark.parametrize("rate", [0.9, 1.0])
def test_a_rate_that_leaves_next_to_nothing_is_detected_before_the_first_step(rate: float) -> None:
    alarm = alarm_of(DropoutAlive(), with_rate(rate))
    assert alarm is not None
    assert alarm.check == "drops-nearly-all"
    assert f"body.3 (p={rate:g})" in alarm.found


def test_another_rate_than_the_declared_is_detected() -> None:
    alarm = alarm_of(DropoutAlive(rates=0.1), with_rate(0.0))
    assert alarm is not None
    assert alarm.check == "other-rate"
    fit(DropoutAlive(rates=0.1))
    fit(DropoutAlive(rates=(0.0, 0.2)), with_rate(0.0))


def test_a_layer_that_drops_nothing_is_detected_in_the_first_batch() -> None:
    class Evaluating(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.body[3].eval()
            return super().training_step(batch, batch_idx)

    module = Evaluating()
    module.body[2], module.body[3].p = nn.Tanh(), 0.5
    alarm = alarm_of(DropoutAlive(), module, train=loaders(128)[0])
    assert alarm is not None
    assert alarm.check == "drops-nothing"


def test_dropping_in_validation_is_detected() -> None:
    class Training(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.train()
            return super().validation_step(batch, batch_idx)

    alarm = alarm_of(DropoutAlive(), Training())
    assert alarm is not None
    assert alarm.check == "drops-in-validation"


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5, 0.8])
def test_ordinary_rates_are_allowed(rate: float) -> None:
    fit(DropoutAlive(), with_rate(rate))


def test_a_layer_that_is_left_on_in_validation_on_purpose_is_allowed() -> None:
    class Sampling(Healthy):
        def on_validation_epoch_start(self) -> None:
            self.body[3].train()

    fit(DropoutAlive(), Sampling())


class Pretrained(Healthy):
    """Learns on top of a part with dropout that is put into eval mode once and stays so."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Sequential(nn.Dropout(0.5))).eval()
        self.backbone.requires_grad_(not frozen)

    def forward(self, inputs: Any) -> Any:
        return super().forward(self.backbone(inputs))


def test_a_frozen_part_in_eval_mode_is_allowed_and_one_that_learns_is_not() -> None:
    fit(DropoutAlive(), Pretrained(frozen=True), train=loaders(64)[0])
    alarm = alarm_of(DropoutAlive(), Pretrained(frozen=False), train=loaders(64)[0])
    assert alarm is not None
    assert (alarm.check, "backbone.2.0" in alarm.found) == ("drops-nothing", True)


def test_a_teacher_that_runs_without_gradients_may_drop_nothing() -> None:
    class Taught(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)).eval()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            with torch.no_grad():
                taught = self.teacher(batch[0])
            return super().training_step(batch, batch_idx) + F.mse_loss(self(batch[0]), taught)

    fit(DropoutAlive(), Taught(), train=loaders(64)[0])
