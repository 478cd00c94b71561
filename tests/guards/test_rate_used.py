"""RateUsed: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab.guards import RateUsed
from tests.guards.rig import Healthy, alarm_of


class Configured(Healthy):
    """Keeps a rate, which its optimizer does not have."""

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.learning_rate = rate

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.002)


class Scaled(Configured):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate * 0.2)


class ByName(Configured):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.2 * getattr(self, "learning_rate"))  # noqa: B009


class Warming(Configured):
    def __init__(self) -> None:
        super().__init__()
        self.lr, self.learning_rate = self.learning_rate, 0.0

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.LinearLR(optimizer, 0.1)]


class Cycling(Configured):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.001, momentum=0.9)
        rate = self.trainer and 0.01
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=16)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class ReadElsewhere(Configured):
    def on_train_start(self) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rate


def scaled_optimizer(module: Any) -> Any:
    return torch.optim.Adam(module.parameters(), lr=module.learning_rate * 0.2)


class ReadByAFunction(Configured):
    def configure_optimizers(self) -> Any:
        return scaled_optimizer(self)


class ReadByAFunctionWithin(Configured):
    def configure_optimizers(self) -> Any:
        def optimizer() -> Any:
            return scaled_optimizer(module=self)

        return optimizer()


class Grouped(Configured):
    """Uses itself for its optimizer in ways in which nothing else can read its rate."""

    def configure_optimizers(self) -> Any:
        self.groups, other = [{"params": [part.weight, part.bias]} for part in (self.head,)], self.body
        self.groups += [{"params": [one]} for one in other.parameters() if one is not self.head.weight]
        return torch.optim.Adam(self.groups, **super().configure_optimizers().defaults)


def test_a_rate_that_is_kept_and_never_read_is_detected() -> None:
    alarm = alarm_of(RateUsed(), Configured())
    assert alarm is not None
    assert "learning_rate is 0.01, and no method reads it" in alarm.found
    assert "is 0.002" in alarm.found
    assert alarm_of(RateUsed(), Grouped()) is not None


@pytest.mark.parametrize(
    "module", [Healthy, Scaled, ByName, Warming, Cycling, ReadElsewhere, ReadByAFunction, ReadByAFunctionWithin]
)
def test_rates_that_are_used_are_allowed(module: Any) -> None:
    assert alarm_of(RateUsed(), module()) is None


def test_a_rate_that_happens_to_be_the_optimizers_is_allowed() -> None:
    assert alarm_of(RateUsed(), Configured(0.002)) is None
