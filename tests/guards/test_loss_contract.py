"""LossContract: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faultlab.guards import GuardWarning, LossContract
from tests.guards.rig import Healthy, alarm_of


class Turned(Healthy):
    """Applies a function to its loss from some step on."""

    def __init__(self, turn: Callable[[Tensor], Any], since: int = 0) -> None:
        super().__init__()
        self.turn = turn
        self.since = since

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return self.turn(loss) if self.global_step >= self.since else loss


@pytest.mark.parametrize(
    ("turn", "since", "check", "word"),
    [
        (lambda loss: loss * torch.nan, 3, "not-finite", "nan"),
        (lambda loss: loss + torch.inf, 3, "not-finite", "inf"),
        (lambda loss: torch.full_like(loss, torch.inf).requires_grad_(), 3, "not-finite", "inf"),
        (lambda loss: torch.ones_like(loss, requires_grad=True), 0, "no-parameter", "parameter"),
        (lambda loss: torch.zeros_like(loss, requires_grad=True), 5, "no-parameter", "constant"),
        (lambda loss: torch.stack([loss, loss]), 0, "not-scalar", "scalar"),
        (lambda loss: -loss, 0, "wrong-sign", "sign"),
        (lambda loss: loss * 0, 0, "zero", "zero"),
        (lambda loss: loss * 0 + 0.7, 0, "stuck", "constant"),
        (lambda loss: loss * 1000, 10, "spike", "spike"),
        (lambda loss: loss * 15, 8, "diverges", "diverge"),
        (lambda loss: -100 * loss, 10, "wrong-sign", "sign"),
        (lambda loss: loss - 100, 10, "turned-negative", "negative"),
    ],
)
def test_a_wrong_loss_is_detected(turn: Callable[[Tensor], Any], since: int, check: str, word: str) -> None:
    alarm = alarm_of(LossContract(), Turned(turn, since))
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


@pytest.mark.parametrize(
    "turn",
    [
        lambda loss: loss * 1000,
        lambda loss: loss + 5,
        lambda loss: -torch.exp(-loss),
        lambda loss: {"loss": loss},
        lambda loss: loss.reshape(1),
        lambda loss: None,
    ],
)
def test_an_unusual_loss_is_allowed(turn: Callable[[Tensor], Any]) -> None:
    assert alarm_of(LossContract(), Turned(turn)) is None


def test_a_loss_that_began_with_a_few_of_one_sign_by_chance_is_allowed() -> None:
    class Policy(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return 0.01 * loss if self.global_step < 6 else 0.01 * loss - 0.3

    assert alarm_of(LossContract(), Policy()) is None


def test_a_check_that_keeps_failing_hides_no_other() -> None:
    class Worse(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return loss * torch.nan if self.global_step > 2 else -loss

    guard = LossContract(action="warn")
    with pytest.warns(GuardWarning) as seen:
        alarm_of(guard, Worse())
    said = [str(entry.message) for entry in seen if "LossContract" in str(entry.message)]
    assert len(said) == 2
    assert "sign" in said[0]
    assert "finite" in said[1]


def test_losses_that_work_against_each_other_may_rise_and_have_any_sign() -> None:
    class Minimax(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers()
            for sign in (1, -1):
                optimizer.zero_grad()
                self.manual_backward(sign * F.cross_entropy(self(batch[0]), batch[1]))
                optimizer.step()

    assert alarm_of(LossContract(), Minimax()) is None


def test_a_checkpointed_forward_hides_the_parameters_and_is_allowed() -> None:
    class Checkpointed(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            from torch.utils.checkpoint import checkpoint

            inputs = batch[0].clone().requires_grad_()
            return checkpoint(lambda x: F.cross_entropy(self(x), batch[1]).round(), inputs, use_reentrant=True)

    assert alarm_of(LossContract(repeats=99), Checkpointed(), max_epochs=1) is None


def test_what_is_learnt_may_be_the_input_itself() -> None:
    class Dream(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.picture = nn.Parameter(torch.ones(4))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.picture.sum()

    assert alarm_of(LossContract(), Dream()) is None


class Density(Healthy):
    """Fits the spread of nearly constant values, whose likelihood has no bound."""

    def __init__(self) -> None:
        super().__init__()
        self.log_spread = nn.Parameter(torch.zeros(4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        narrow = 0.01 * batch[0] * self.log_spread.neg().exp()
        return (narrow.square() / 2 + self.log_spread).sum(dim=1).mean() + 0.5

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.log_spread], lr=0.03)


def test_a_likelihood_may_sink_below_zero_in_small_steps() -> None:
    module = Density()
    assert alarm_of(LossContract(), module, limit_val_batches=0, max_epochs=5) is None
    assert float(module.log_spread.detach().sum()) < -4 * 0.5


def test_losses_of_two_kinds_may_take_turns_under_manual_optimisation() -> None:
    class Turns(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            loss = F.cross_entropy(self(batch[0]), batch[1])
            self.manual_backward(100 * self(batch[0]).square().mean().sqrt() if self.current_epoch % 2 else 0.1 * loss)
            self.optimizers().step()
            self.optimizers().zero_grad()

    assert alarm_of(LossContract(), Turns(), max_epochs=4) is None
