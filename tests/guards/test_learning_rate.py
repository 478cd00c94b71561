"""LearningRate: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from faultlab.guards import LearningRate
from tests.guards.rig import Healthy, alarm_of


class Scheduled(Healthy):
    """A module with a scheduler that a function creates; 8 batches per epoch."""

    def __init__(self, make: Callable[[Any], Any], rate: float | torch.Tensor = 0.01, **config: Any) -> None:
        super().__init__()
        self.make = make
        self.rate = rate
        self.config = config

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make(optimizer), **self.config}}


@pytest.mark.parametrize(
    ("module", "epochs", "check", "word"),
    [
        (Scheduled(lambda o: schedulers.ExponentialLR(o, 1e-3)), 4, "collapses", "collapse"),
        (Scheduled(lambda o: schedulers.ExponentialLR(o, 1e-3), torch.tensor(0.01)), 4, "collapses", "collapse"),
        (Scheduled(lambda o: schedulers.ExponentialLR(o, 1e-3), interval="step"), 4, "collapses", "gamma"),
        (Scheduled(lambda o: schedulers.ExponentialLR(o, 0.5), interval="step"), 4, "collapses", "interval"),
        (Scheduled(lambda o: schedulers.ExponentialLR(o, 0.9), rate=0.0), 1, "zero", "learning rate"),
        (Scheduled(lambda o: schedulers.LambdaLR(o, lambda s: 0.0), interval="step"), 1, "zero", "zero"),
    ],
)
def test_a_wrong_course_is_detected(module: Scheduled, epochs: int, check: str, word: str) -> None:
    alarm = alarm_of(LearningRate(), module, max_epochs=epochs)
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_scheduler_that_is_not_stepped_is_detected(interval: str) -> None:
    class Unstepped(Scheduled):
        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
            pass

    alarm = alarm_of(LearningRate(), Unstepped(lambda o: schedulers.ExponentialLR(o, 0.9), interval=interval))
    assert alarm is not None
    assert alarm.check == "unstepped"
    assert "scheduler" in str(alarm)


def test_a_scheduler_that_was_not_returned_is_detected() -> None:
    class Forgetful(Healthy):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters())
            schedulers.ExponentialLR(optimizer, 0.9)
            return optimizer

    alarm = alarm_of(LearningRate(), Forgetful())
    assert alarm is not None
    assert alarm.check == "unknown-scheduler"
    assert "lr_scheduler" in str(alarm)


def test_a_scheduler_that_is_stepped_by_hand_as_well_is_detected() -> None:
    class Eager(Scheduled):
        def on_train_batch_end(self, *args: Any) -> None:
            self.lr_schedulers().step()  # type: ignore[union-attr,call-arg]

    alarm = alarm_of(LearningRate(), Eager(lambda o: schedulers.ExponentialLR(o, 0.99)))
    assert alarm is not None
    assert alarm.check == "too-often"


@pytest.mark.parametrize(
    "module",
    [
        Scheduled(lambda o: schedulers.LambdaLR(o, lambda step: min(step / 5, 1.0)), interval="step"),
        Scheduled(lambda o: schedulers.ExponentialLR(o, 0.5)),
        Scheduled(lambda o: schedulers.CosineAnnealingLR(o, 3)),
        Scheduled(lambda o: schedulers.CosineAnnealingLR(o, 10), interval="step"),
        Scheduled(lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=64), interval="step"),
        Scheduled(lambda o: schedulers.StepLR(o, 2, 0.1)),
        Scheduled(lambda o: schedulers.ExponentialLR(o, 0.9), interval="step", frequency=3),
        Scheduled(lambda o: schedulers.ReduceLROnPlateau(o, patience=0), monitor="train_loss"),
    ],
)
def test_usual_courses_are_allowed(module: Scheduled) -> None:
    assert alarm_of(LearningRate(), module, max_epochs=8) is None


def test_a_scheduler_that_the_module_keeps_and_steps_is_allowed() -> None:
    class ByHand(Healthy):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
            self.scheduler = schedulers.StepLR(optimizer, 1, 0.5)
            return optimizer

        def on_train_epoch_end(self) -> None:
            self.scheduler.step()

    assert alarm_of(LearningRate(), ByHand()) is None


class Grouped(Healthy):
    """Gives body and head rates of their own, and a schedule of the rates that a function returns."""

    def __init__(self, rates: Callable[[int, float], float]) -> None:
        super().__init__()
        self.rates = rates

    def configure_optimizers(self) -> Any:
        groups = [{"params": self.body.parameters(), "lr": 0.001}, {"params": self.head.parameters(), "lr": 0.01}]
        optimizer = torch.optim.Adam(groups)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = self.rates(self.global_step, group["initial_lr"])


@pytest.mark.parametrize(
    ("rates", "check"),
    [
        (lambda step, own: 0.01, "levelled"),
        (lambda step, own: 0.01 * min(1, (step + 1) / 4), "levelled"),
        (lambda step, own: own * min(1, (step + 1) / 4), ""),
        (lambda step, own: own if step < 4 else 0.01, ""),
        (lambda step, own: max(own * 0.5**step, 1e-4), ""),
        (lambda step, own: 1e-3, ""),
    ],
)
def test_groups_with_rates_of_their_own_that_all_get_the_highest_are_detected(
    rates: Callable[[int, float], float], check: str
) -> None:
    alarm = alarm_of(LearningRate(leave_out=["unknown-scheduler", "zero"]), Grouped(rates))
    assert (alarm.check if alarm else "") == check
