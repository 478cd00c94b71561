"""OptimizerSettings: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import optim

from faultlab.guards import OptimizerSettings
from tests.guards.rig import Healthy, alarm_of


class Configured(Healthy):
    """A module with an optimizer of some kind, whose settings are changed after the constructor's checks."""

    def __init__(self, kind: Any, **settings: Any) -> None:
        super().__init__()
        self.kind = kind
        self.settings = settings

    def configure_optimizers(self) -> Any:
        optimizer = self.kind(self.parameters(), lr=0.01)
        optimizer.param_groups[0].update(self.settings)
        return optimizer


@pytest.mark.parametrize(
    ("kind", "settings", "check", "word"),
    [
        (optim.SGD, {"lr": -0.1}, "rate-impossible", "negative"),
        (optim.SGD, {"lr": float("nan")}, "rate-impossible", "not finite"),
        (optim.Adam, {"lr": 1.0}, "rate-huge", "learning rate"),
        (optim.Adam, {"lr": 0.1, "initial_lr": 2.0}, "rate-huge", "diverge"),
        (optim.AdamW, {"lr": 1e-12}, "rate-negligible", "negligible"),
        (optim.AdamW, {"weight_decay": 10.0}, "decay-huge", "weight decay"),
        (optim.SGD, {"weight_decay": 10.0}, "decay-huge", "shrink"),
        (optim.Adam, {"weight_decay": 10.0}, "decay-huge", "weight decay"),
        (optim.Adam, {"eps": 1.0}, "epsilon", "epsilon"),
        (optim.Adam, {"eps": 0.0}, "epsilon", "zero"),
        (optim.Adam, {"betas": (1.0, 0.9)}, "momentum", "moment"),
    ],
)
def test_an_impossible_setting_is_detected(kind: Any, settings: dict[str, Any], check: str, word: str) -> None:
    alarm = alarm_of(OptimizerSettings(), Configured(kind, **settings), max_epochs=1)
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


def test_an_epsilon_that_half_precision_cannot_hold_is_detected() -> None:
    alarm = alarm_of(OptimizerSettings(), Configured(optim.Adam).half(), precision="16-true", max_epochs=1)
    assert alarm is not None
    assert alarm.check == "epsilon"
    assert "float16" in str(alarm)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (optim.SGD, {"lr": 1.0, "momentum": 0.99}),
        (optim.Adadelta, {"lr": 1.0}),
        (optim.AdamW, {"lr": 1e-6, "weight_decay": 0.1}),
        (optim.AdamW, {"lr": torch.tensor(0.01)}),
        (optim.Adam, {"lr": 0.0}),
        (optim.RMSprop, {"eps": 0.1}),
        (optim.LBFGS, {"lr": 0.001}),
    ],
)
def test_unusual_settings_are_allowed(kind: Any, settings: dict[str, Any]) -> None:
    assert alarm_of(OptimizerSettings(), Configured(kind, **settings), max_epochs=1) is None


class Multiplied(Healthy):
    """Has a rate of 1 times a function's value, as in the warm-up of transformers."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def configure_optimizers(self) -> Any:
        optimizer = optim.AdamW(self.parameters(), lr=1.0, weight_decay=0.05)
        schedule = optim.lr_scheduler.LambdaLR(optimizer, self.function)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def test_a_rate_that_is_a_function_of_the_step_is_what_the_function_gives() -> None:
    assert alarm_of(OptimizerSettings(), Multiplied(lambda step: 0.01 * min(1, (step + 1) / 8))) is None
    alarm = alarm_of(OptimizerSettings(), Multiplied(lambda step: 0.5))
    assert alarm is not None
    assert alarm.check == "rate-huge"
