"""Modules that learn by themselves, without Lightning's steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab import guards
from faultlab.guards import LossContract, StepsTaken
from tests.guards.rig import Healthy, Plan, alarm_of, fit


class Idle(Plan):
    learns = False


class Manual(Plan):
    """The same under manual optimization, where the Trainer's own optimizer is stepped for its count of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        super().training_step(batch, batch_idx)
        self.optimizers().step()


@pytest.mark.parametrize("make", [Plan, Manual])
@pytest.mark.parametrize("level", ["cheap", "full"])
def test_a_plan_of_its_own_is_allowed_by_all_guards(make: Any, level: guards.Level) -> None:
    fit(guards.all(level), make(), max_epochs=3)


@pytest.mark.parametrize(("guard", "check"), [(StepsTaken, "no-step"), (LossContract, "no-parameter")])
def test_a_plan_that_learns_nothing_is_detected(guard: Any, check: str) -> None:
    alarm = alarm_of(guard(), Idle())
    assert alarm is not None
    assert alarm.check == check


def test_a_step_of_its_own_that_leaves_the_optimizer_out_is_detected() -> None:
    class Skipping(Healthy):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer_closure() if batch_idx == 3 else optimizer.step(closure=optimizer_closure)

    alarm = alarm_of(StepsTaken(), Skipping())
    assert alarm is not None
    assert (alarm.check, "batch 3" in alarm.found) == ("no-step", True)


def test_alternate_epochs_leave_the_loss_of_validation_as_it_was() -> None:
    class Epochs(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.critic = torch.nn.Linear(2, 1)

        def configure_optimizers(self) -> Any:
            learning = [*self.body[0].parameters(), *self.head.parameters()]
            return torch.optim.Adam(learning, 0.02), torch.optim.Adam(self.critic.parameters(), 0.02)

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()[self.current_epoch % 2]
            optimizer.zero_grad()
            with torch.set_grad_enabled(True):
                scores = self.critic(self(batch[0]).detach()).square().mean()
            loss = scores if self.current_epoch % 2 else super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            optimizer.step()

    module = Epochs()
    module.body = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh())
    fit(guards.LoggedMetrics(), module, max_epochs=5)
