"""BackwardFaithful: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from faultlab.guards import BackwardFaithful
from tests.guards.rig import Healthy, alarm_of


class Turned(Healthy):
    """Changes the gradients in backward from the third batch on."""

    def __init__(self, turn: Callable[[Any], Any]) -> None:
        super().__init__()
        self.turn = turn

    def backward(self, loss: Any, *args: Any, **kwargs: Any) -> None:
        super().backward(loss, *args, **kwargs)
        if self.global_step >= 2:
            for parameter in self.parameters():
                self.turn(parameter)


def drop(parameter: Any) -> None:
    parameter.grad = None


def randomise(parameter: Any) -> None:
    parameter.grad.copy_(torch.randn_like(parameter) * parameter.grad.norm())


@pytest.mark.parametrize(
    ("turn", "check", "word"),
    [
        (drop, "missing", "no gradient"),
        (lambda p: p.grad.neg_(), "negated", "sign"),
        (lambda p: p.grad.mul_(2), "scaled", "2 times"),
        (lambda p: p.grad.mul_(0), "unlike", "0 times"),
        (randomise, "unlike", "noise"),
        (lambda p: p.grad.add_(p.detach(), alpha=0.2), "unlike", "penalty"),
    ],
)
def test_gradients_that_are_not_the_losss_are_detected(turn: Callable[[Any], Any], check: str, word: str) -> None:
    alarm = alarm_of(BackwardFaithful(), Turned(turn))
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)
    assert "head.weight" in str(alarm)


@pytest.mark.parametrize(
    "trainer", [{}, {"accumulate_grad_batches": 3}, {"precision": "bf16-mixed"}, {"gradient_clip_val": 0.01}]
)
def test_usual_settings_are_allowed(trainer: dict[str, Any]) -> None:
    assert alarm_of(BackwardFaithful(), **trainer) is None


def test_two_optimizers_whose_losses_reach_both_are_allowed() -> None:
    class Two(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                optimizer.zero_grad()
                self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(self.body.parameters()), torch.optim.Adam(self.head.parameters())]

    assert alarm_of(BackwardFaithful(), Two()) is None


def test_a_backward_that_cannot_run_twice_is_left_alone() -> None:
    class Checkpointed(Healthy):
        def forward(self, inputs: Any) -> Any:
            from torch.utils.checkpoint import checkpoint

            return checkpoint(super().forward, inputs.clone().requires_grad_(), use_reentrant=True)

    assert alarm_of(BackwardFaithful(), Checkpointed(), max_epochs=1) is None
