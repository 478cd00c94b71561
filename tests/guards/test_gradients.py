"""Gradients: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import Gradients
from tests.guards.rig import Healthy, Plan, alarm_of, points


class Wide(Healthy):
    """Has enough weights for checks that require many."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.ReLU())
        self.head = nn.Linear(32, 2)


class Turned(Wide):
    """Changes its gradients after backward, from some step on."""

    def __init__(self, turn: Callable[[Any], None], since: int = 0) -> None:
        super().__init__()
        self.turn = turn
        self.since = since

    def on_after_backward(self) -> None:
        if self.global_step >= self.since:
            for parameter in self.parameters():
                self.turn(parameter)


def dropped(parameter: Any) -> None:
    parameter.grad = None


def pulled(parameter: Any) -> None:
    parameter.grad.add_(parameter.detach(), alpha=50)


@pytest.mark.parametrize(
    ("turn", "since", "check", "word"),
    [
        (lambda p: p.grad.mul_(torch.nan), 3, "not-finite", "NaN"),
        (dropped, 3, "missing", "gradient"),
        (lambda p: p.grad.zero_(), 0, "zero", "zero"),
        (lambda p: p.grad.zero_(), 4, "zero", "zero"),
        (lambda p: p.grad.mul_(1e4), 8, "explodes", "gradient norm"),
        (lambda p: p.grad.mul_(1e-9), 0, "vanishes", "vanish"),
        (lambda p: p.grad.mul_(1e-6), 8, "vanishes", "vanish"),
        (lambda p: p.grad.fill_(0.5), 2, "stale", "same gradient"),
        (pulled, 0, "along-weights", "penalty"),
    ],
)
def test_wrong_gradients_are_detected(turn: Callable[[Any], None], since: int, check: str, word: str) -> None:
    alarm = alarm_of(Gradients(), Turned(turn, since))
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


def test_gradients_that_are_clipped_to_next_to_nothing_are_detected() -> None:
    class Crushed(Wide):
        def on_after_backward(self) -> None:
            torch.nn.utils.clip_grad_norm_(self.parameters(), 1e-3)

    alarm = alarm_of(Gradients(), Crushed())
    assert alarm is not None
    assert alarm.check == "crushed"


def test_gradients_of_one_norm_are_not_stale_if_their_values_differ() -> None:
    class Signs(Wide):
        """Its only gradient always has the same norm, as one that is clipped in every step has."""

        def on_after_backward(self) -> None:
            assert self.head.weight.grad is not None
            self.head.weight.grad.sign_()

    module = Signs()
    module.requires_grad_(False)
    module.head.weight.requires_grad_(True)
    assert alarm_of(Gradients(), module) is None


def test_a_detached_body_is_detected_and_named() -> None:
    class Detached(Wide):
        def forward(self, inputs: Any) -> Any:
            return self.head(self.body(inputs).detach())

    alarm = alarm_of(Gradients(), Detached())
    assert alarm is not None
    assert alarm.check == "missing"
    assert "body.0.weight" in str(alarm)


def test_a_dead_first_layer_is_detected_and_named() -> None:
    class Dead(Wide):
        def forward(self, inputs: Any) -> Any:
            return self.head(self.body(inputs - 1e6).clamp(max=0))

    alarm = alarm_of(Gradients(), Dead())
    assert alarm is not None
    assert alarm.check == "layer-zero"
    assert "body.0.weight" in str(alarm)


def test_a_last_layer_that_begins_with_zero_is_allowed() -> None:
    class Zero(Wide):
        def __init__(self) -> None:
            super().__init__()
            nn.init.zeros_(self.head.weight)

    assert alarm_of(Gradients(), Zero()) is None


def test_a_head_that_is_not_used_is_allowed() -> None:
    class Spare(Wide):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(32, 5)

    assert alarm_of(Gradients(), Spare()) is None


@pytest.mark.parametrize(
    "trainer", [{"gradient_clip_val": 0.1}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}]
)
def test_usual_settings_are_allowed(trainer: dict[str, Any]) -> None:
    assert alarm_of(Gradients(), Wide(), **trainer) is None


def test_large_gradients_are_looked_at_by_a_sample() -> None:
    class Large(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8000), nn.ReLU())
            self.head = nn.Linear(8000, 4)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = F.cross_entropy(self(batch[0]), batch[1])
            return loss * torch.nan if batch_idx == 4 else loss

    alarm = alarm_of(Gradients(), Large(), max_epochs=1)
    assert alarm is not None
    assert alarm.check == "not-finite"


@pytest.mark.parametrize("power", [1, 2])
def test_a_training_that_has_reached_its_goal_is_allowed(power: int) -> None:
    class Settling(Wide):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch[0]).relu().pow(power).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.3)

    assert alarm_of(Gradients(), Settling(), max_epochs=12) is None


class Alternating(Wide):
    """Trains its body or its head, with the other half frozen, and steps the optimizers of both."""

    to_none = True

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.body.parameters(), 0.01), torch.optim.Adam(self.head.parameters(), 0.01)

    def half(self, batch_idx: int) -> nn.Module:
        return self.head if batch_idx % 2 else self.body

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.zero_grad(set_to_none=self.to_none)
        frozen = self.half(batch_idx).requires_grad_(False)
        self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
        for optimizer in self.optimizers():
            optimizer.step()
        frozen.requires_grad_(True)


@pytest.mark.parametrize("to_none", [True, False])
def test_halves_that_learn_in_turn_are_allowed(to_none: bool) -> None:
    module = Alternating()
    module.to_none = to_none
    assert alarm_of(Gradients(), module, max_epochs=4, limit_val_batches=0) is None


def test_a_number_that_is_there_for_the_trainer_to_have_an_optimizer_needs_no_gradient() -> None:
    assert alarm_of(Gradients(), Plan()) is None


@pytest.mark.parametrize(("to_none", "check"), [(True, "missing"), (False, "zero")])
def test_a_half_that_never_has_its_turn_is_detected(to_none: bool, check: str) -> None:
    class Forgetting(Alternating):
        def half(self, batch_idx: int) -> nn.Module:
            return self.body if self.global_step > 8 else super().half(batch_idx)

    module = Forgetting()
    module.to_none = to_none
    alarm = alarm_of(Gradients(), module, max_epochs=4, limit_val_batches=0)
    assert alarm is not None
    assert alarm.check == check


def test_a_line_search_may_begin_where_the_last_one_ended() -> None:
    class Searching(Wide):
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4)

    whole = DataLoader(points(), 128)
    assert alarm_of(Gradients(), Searching(), train=whole, max_epochs=6, log_every_n_steps=1) is None
