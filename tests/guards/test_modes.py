"""Modes: training in training mode, validation in eval mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab.guards import Modes
from tests.guards.rig import Healthy, alarm_of, fit


def test_a_module_in_eval_mode_before_training_is_detected_before_the_first_step() -> None:
    module = Healthy().eval()
    alarm = alarm_of(Modes(), module)
    assert alarm is not None
    assert alarm.check == "eval-before-training"
    assert "2 layers" in alarm.found


@pytest.mark.parametrize("whole", [True, False])
def test_eval_mode_in_a_step_is_detected_at_that_step(whole: bool) -> None:
    steps: list[int] = []

    class Evaluating(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            steps.append(batch_idx)
            if batch_idx == 3:
                for part in [self] if whole else list(self.children()):
                    part.eval()
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(Modes(), Evaluating())
    assert alarm is not None
    assert alarm.check == "eval-in-training"
    assert steps[-1] == 3


def test_eval_mode_that_validation_leaves_behind_is_detected() -> None:
    class Leaving(Healthy):
        def on_train_epoch_end(self) -> None:
            self.eval()

    alarm = alarm_of(Modes(), Leaving())
    assert alarm is not None
    assert alarm.check == "eval-in-training"


def test_training_mode_in_validation_is_detected() -> None:
    class Training(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.train()
            return super().validation_step(batch, batch_idx)

    alarm = alarm_of(Modes(), Training())
    assert alarm is not None
    assert alarm.check == "training-in-validation"


def test_a_module_that_sets_its_own_mode_for_validation_is_allowed() -> None:
    class Own(Healthy):
        def on_validation_model_eval(self) -> None:
            self.head.eval()

    fit(Modes(), Own())


def test_gradients_that_are_switched_off_are_detected() -> None:
    class Off(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            torch.set_grad_enabled(False)
            return loss

    alarm = alarm_of(Modes(), Off())
    torch.set_grad_enabled(True)
    assert alarm is not None
    assert alarm.check == "grad-disabled"


def test_parts_that_are_frozen_and_in_eval_mode_are_allowed() -> None:
    class Frozen(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.body.eval().requires_grad_(False)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.body.eval()
            return super().training_step(batch, batch_idx)

    fit(Modes(), Frozen())


def test_a_part_that_is_in_eval_mode_for_a_while_is_allowed() -> None:
    class Teaching(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.eval()
            self(batch[0])
            self.train()
            self.body[1].eval()
            return super().training_step(batch, batch_idx)

    fit(Modes(), Teaching())
