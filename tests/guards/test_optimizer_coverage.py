"""OptimizerCoverage: what it detects, and what it allows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import nn

from faultlab.guards import OptimizerCoverage
from tests.guards.rig import Healthy, alarm_of


class Configured(Healthy):
    """A module whose optimizer a function creates."""

    def __init__(self, configure: Callable[[Any], Any]) -> None:
        super().__init__()
        self.configure = configure

    def configure_optimizers(self) -> Any:
        return self.configure(self)


def replaced(module: Any) -> Any:
    optimizer = torch.optim.Adam(module.parameters())
    module.head = nn.Linear(8, 2)
    return optimizer


@pytest.mark.parametrize(
    ("configure", "check", "word"),
    [
        (lambda module: None, "none", "no optimizer"),
        (lambda module: torch.optim.Adam([{"params": []}]), "empty", "empty"),
        (lambda module: torch.optim.Adam(copy.deepcopy(module.head).parameters()), "foreign", "foreign"),
        (replaced, "foreign", "replaced"),
        (lambda module: torch.optim.Adam(module.body.parameters()), "left-out", "head.weight"),
    ],
)
def test_an_optimizer_of_the_wrong_parameters_is_detected(
    configure: Callable[[Any], Any], check: str, word: str
) -> None:
    alarm = alarm_of(OptimizerCoverage(), Configured(configure))
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


def test_a_layer_in_a_plain_list_is_detected() -> None:
    class Hidden(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 4)]

        def forward(self, inputs: Any) -> Any:
            return super().forward(self.layers[0](inputs))

    alarm = alarm_of(OptimizerCoverage(), Hidden())
    assert alarm is not None
    assert alarm.check == "unregistered"
    assert "(4, 4)" in str(alarm)


def test_a_layer_that_is_replaced_between_epochs_is_detected() -> None:
    class Renewed(Healthy):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.head = nn.Linear(8, 2)

    alarm = alarm_of(OptimizerCoverage(), Renewed())
    assert alarm is not None
    assert alarm.check == "foreign"


def test_frozen_layers_are_allowed_unless_all_should_learn() -> None:
    class Frozen(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.body[0].requires_grad_(False)

    assert alarm_of(OptimizerCoverage(), Frozen()) is None
    alarm = alarm_of(OptimizerCoverage(all_train=True), Frozen())
    assert alarm is not None
    assert alarm.check == "frozen"


def test_what_is_left_out_on_purpose_is_allowed() -> None:
    module = Configured(lambda module: torch.optim.Adam(module.body.parameters()))
    assert alarm_of(OptimizerCoverage(apart=["head."]), module) is None


def test_a_critic_in_eval_mode_is_allowed() -> None:
    class Perceptual(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.critic = nn.Linear(2, 2).eval()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam([*self.body.parameters(), *self.head.parameters()])

    assert alarm_of(OptimizerCoverage(), Perceptual()) is None


def test_several_optimizers_may_share_the_parameters_among_them() -> None:
    def configure(module: Any) -> Any:
        module.automatic_optimization = False
        return [torch.optim.Adam(module.body.parameters()), torch.optim.Adam(module.head.parameters())]

    assert alarm_of(OptimizerCoverage(), Configured(configure)) is None


class Staged(Healthy):
    """Trains its head first, and its body once a callback has unfrozen it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = self.body

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.head.parameters(), 0.05)


def test_what_a_callback_adds_when_it_unfreezes_it_is_allowed() -> None:
    assert alarm_of([OptimizerCoverage(), BackboneFinetuning(1)], Staged(), max_epochs=3) is None


def test_a_head_that_is_left_out_beside_such_a_callback_is_detected() -> None:
    class Headless(Staged):
        def __init__(self) -> None:
            super().__init__()
            self.neck = nn.Linear(2, 2)

        def forward(self, inputs: Any) -> Any:
            return self.neck(super().forward(inputs))

    alarm = alarm_of([OptimizerCoverage(), BackboneFinetuning(1)], Headless(), max_epochs=3)
    assert alarm is not None
    assert (alarm.check, "2 of 6" in alarm.found) == ("left-out", True)


class Targeted(Healthy):
    """Learns from a copy of its head that follows slowly, as value functions and momentum encoders do."""

    graded = False

    def __init__(self) -> None:
        super().__init__()
        self.target = copy.deepcopy(self.head)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        with torch.set_grad_enabled(self.graded):
            wanted = self.target(self.body(batch[0]))
        return super().training_step(batch, batch_idx) + (self(batch[0]) - wanted).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([*self.body.parameters(), *self.head.parameters()])


def test_a_target_network_is_allowed_unless_the_loss_reaches_it() -> None:
    class Reached(Targeted):
        graded = True

    assert alarm_of(OptimizerCoverage(), Targeted()) is None
    alarm = alarm_of(OptimizerCoverage(), Reached())
    assert alarm is not None
    assert (alarm.check, "target.weight" in alarm.found) == ("left-out", True)


def test_what_the_module_steps_by_itself_is_allowed() -> None:
    class Plan(Healthy):
        """Lets Lightning step a placeholder, and everything else by an optimizer of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.counted = nn.Parameter(torch.zeros(1))

        def configure_optimizers(self) -> Any:
            self.own = torch.optim.Adam([*self.body.parameters(), *self.head.parameters()], lr=0.02)
            return torch.optim.Adam([self.counted])

        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.own.zero_grad()
            super().training_step(batch, batch_idx).backward()
            self.own.step()
            self.optimizers().step()

    assert alarm_of(OptimizerCoverage(), Plan()) is None
