"""DropoutAlive: dropout that drops everything, nothing, or at the wrong time."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from faultlab.guards import DropoutAlive
from tests.guards.rig import Healthy, alarm_of, fit, loaders


def with_rate(rate: float) -> Healthy:
    module = Healthy()
    module.body[3].p = rate
    return module


@pytest.mark.parametrize("rate", [0.9, 1.0])
def test_a_rate_that_leaves_next_to_nothing_is_noticed_before_the_first_step(rate: float) -> None:
    alarm = alarm_of(DropoutAlive(), with_rate(rate))
    assert alarm is not None
    assert alarm.check == "drops-nearly-all"
    assert f"body.3 (p={rate:g})" in alarm.found


def test_another_rate_than_the_declared_is_noticed() -> None:
    alarm = alarm_of(DropoutAlive(rates=0.1), with_rate(0.0))
    assert alarm is not None
    assert alarm.check == "other-rate"
    fit(DropoutAlive(rates=0.1))
    fit(DropoutAlive(rates=(0.0, 0.2)), with_rate(0.0))


def test_a_layer_that_drops_nothing_is_noticed_in_the_first_batch() -> None:
    class Evaluating(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.body[3].eval()
            return super().training_step(batch, batch_idx)

    module = Evaluating()
    module.body[2], module.body[3].p = nn.Tanh(), 0.5
    alarm = alarm_of(DropoutAlive(), module, train=loaders(128)[0])
    assert alarm is not None
    assert alarm.check == "drops-nothing"


def test_dropping_in_validation_is_noticed() -> None:
    class Training(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.train()
            return super().validation_step(batch, batch_idx)

    alarm = alarm_of(DropoutAlive(), Training())
    assert alarm is not None
    assert alarm.check == "drops-in-validation"


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5, 0.8])
def test_ordinary_rates_are_let_pass(rate: float) -> None:
    fit(DropoutAlive(), with_rate(rate))


def test_a_layer_that_is_left_on_in_validation_on_purpose_is_let_pass() -> None:
    class Sampling(Healthy):
        def on_validation_epoch_start(self) -> None:
            self.body[3].train()

    fit(DropoutAlive(), Sampling())
