"""OverfitsBatch: a model that can't learn even one batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab import guards
from faultlab.guards import OverfitsBatch
from tests.guards.rig import Healthy, alarm_of, fit


class Changed(Healthy):
    """Applies a function to its outputs."""

    def forward(self, inputs: Any) -> Any:
        return self.change(super().forward(inputs))

    def change(self, outputs: Any) -> Any:
        return outputs


class Constant(Changed):
    def change(self, outputs: Any) -> Any:
        return outputs * 0


class Detached(Changed):
    def change(self, outputs: Any) -> Any:
        return outputs.detach() + 0 * self.head.bias


@pytest.mark.parametrize("cls", [Constant, Detached])
def test_a_model_that_cannot_learn_is_detected_before_the_first_step(cls: type[Changed]) -> None:
    alarm = alarm_of(OverfitsBatch(), module := cls())
    assert alarm is not None
    assert "can't learn a single batch" in alarm.found
    assert module.global_step == 0


def test_the_training_is_the_same_as_without() -> None:
    def weights(callbacks: Any) -> torch.Tensor:
        torch.manual_seed(3)
        fit(callbacks, module := Healthy())
        return module.head.weight.detach()

    assert torch.equal(weights([]), weights(OverfitsBatch()))


def test_a_step_that_a_copy_cannot_do_is_allowed() -> None:
    class Once(Healthy):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("can't be copied")

    fit(OverfitsBatch(), Once())


def test_it_has_to_be_asked_for() -> None:
    assert OverfitsBatch in guards.classes()
    assert not any(isinstance(guard, OverfitsBatch) for guard in guards.all("full"))
