"""UpdatesKept: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, UpdatesKept, watch
from tests.guards.rig import Healthy, alarm_of, points


def check_of(dtype: torch.dtype, rate: float, *, warm_up: bool = False, adam: bool = True) -> str:
    """Train a model with weights of this precision and return the check that fails, empty if none does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 2)).to(dtype)
    loader = DataLoader(points(), batch_size=8, shuffle=True)
    optimizer = (torch.optim.AdamW if adam else torch.optim.SGD)(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 1e4) if warm_up else 1.0)
    try:
        with watch(model, optimizer, guards=UpdatesKept(), loader=loader) as watching:
            for _ in range(2):
                for inputs, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(inputs.to(dtype)).float(), labels).backward()
                    optimizer.step()
                    schedule.step()
        assert watching.guards[0].looked == (0 if dtype is torch.float32 or warm_up else 32)
    except Alarm as alarm:
        return alarm.check
    return ""


@pytest.mark.parametrize(
    ("dtype", "rate", "adam"),
    [(torch.bfloat16, 1e-4, True), (torch.bfloat16, 1e-3, False), (torch.float16, 2e-4, False)],
)
def test_updates_smaller_than_the_spacing_of_the_weights_are_detected(
    dtype: torch.dtype, rate: float, adam: bool
) -> None:
    assert check_of(dtype, rate, adam=adam) == "rounded-away"


@pytest.mark.parametrize(
    ("dtype", "rate", "adam"),
    [(torch.bfloat16, 0.01, True), (torch.bfloat16, 0.3, False), (torch.float16, 0.1, False)],
)
def test_updates_that_the_weights_can_take_are_allowed(dtype: torch.dtype, rate: float, adam: bool) -> None:
    assert check_of(dtype, rate, adam=adam) == ""


def test_single_precision_and_warm_ups_are_not_judged() -> None:
    assert check_of(torch.float32, 1e-8) == ""
    assert check_of(torch.bfloat16, 1e-4, warm_up=True) == ""


def test_weights_that_lightning_keeps_in_half_precision_are_judged() -> None:
    class Slow(Healthy):
        rate = 1e-5

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=self.rate)

    alarm = alarm_of(UpdatesKept(), module := Slow(), precision="bf16-true")
    assert alarm is not None
    assert "smaller than the spacing of bfloat16" in alarm.found
    assert alarm_of(UpdatesKept(), Slow(), precision="bf16-mixed") is None
    module.rate = 0.02
    assert alarm_of(UpdatesKept(), module, precision="bf16-true") is None


class Rounding(torch.optim.AdamW):
    """Stands for an optimizer that rounds at random, which changes a value in few of its steps."""


class Warming:
    """Raises or lowers the rate in a loop of its own, which no scheduler shows."""

    def __init__(self, first: float, factor: float) -> None:
        self.rate, self.factor = first, factor

    def __call__(self, optimizer: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.rate
        self.rate = min(0.01, self.rate * self.factor)


def guard_of(optimizer: Any, after_step: Any, model: Any) -> UpdatesKept:
    loader = DataLoader(points(), batch_size=8, shuffle=True)
    with watch(model, optimizer, guards=(guard := UpdatesKept()), loader=loader):
        for _ in range(4):
            for inputs, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs.bfloat16()).float(), labels).backward()
                optimizer.step()
                after_step(optimizer)
    return guard


def wide() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)).bfloat16()


@pytest.mark.parametrize("own", [Warming(1e-5, 1.02), Warming(0.01, 0.95)])
def test_rates_that_a_loop_raises_or_lowers_itself_are_not_judged_away_from_the_highest(own: Warming) -> None:
    model = wide()
    assert guard_of(torch.optim.AdamW(model.parameters(), lr=own.rate), own, model).looked < 20


def test_schedules_that_rise_from_a_low_rate_are_allowed() -> None:
    model = wide()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=1000)
    guard_of(optimizer, lambda _: schedule.step(), model)


def test_optimizers_that_may_keep_updates_elsewhere_are_not_judged() -> None:
    model = wide()
    guard = guard_of(Rounding(model.parameters(), lr=1e-5), lambda _: None, model)
    assert guard.skipped == {"the optimizer is not torch's own": 1}
