"""ParametersMove: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.guards import Alarm, ParametersMove, watch
from tests.guards.rig import Healthy, alarm_of, points


class Wide(Healthy):
    """Has enough weights to compare an update with, under an optimizer of some kind."""

    def __init__(self, kind: Any = torch.optim.Adam, **settings: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.ReLU())
        self.head = nn.Linear(64, 2)
        self.make = lambda: kind(self.parameters(), **{"lr": 0.01, **settings})

    def configure_optimizers(self) -> Any:
        return self.make()


class Undone(Wide):
    """Reverts the updates of some batches."""

    undone: Collection[int] = range(100)

    def optimizer_step(self, epoch: Any, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        before = [parameter.detach().clone() for parameter in self.parameters()]
        optimizer.step(closure=optimizer_closure)
        for parameter, value in zip(self.parameters(), before):
            if batch_idx in self.undone:
                parameter.data.copy_(value)


def test_an_update_that_is_undone_is_detected_at_once() -> None:
    alarm = alarm_of(ParametersMove(), Undone())
    assert alarm is not None
    assert alarm.check == "unchanged"
    assert "changed no parameter" in str(alarm)


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"lr": 5.0}, "too-large"),
        ({"lr": 1e-6}, "negligible"),
        ({"lr": torch.tensor(1e-6)}, "negligible"),
        ({"lr": 1e-13}, "unchanged"),
    ],
)
def test_a_rate_that_cannot_work_is_detected_by_its_updates(settings: dict[str, Any], check: str) -> None:
    alarm = alarm_of(ParametersMove(), Wide(**settings), max_epochs=4)
    assert alarm is not None
    assert alarm.check == check


def test_memory_that_went_wrong_is_detected_by_its_updates() -> None:
    class Corrupt(Wide):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 5:
                for state in self.optimizers().optimizer.state.values():  # type: ignore[union-attr]
                    state["exp_avg"].mul_(1e5)
            return super().training_step(batch, batch_idx)

    alarm = alarm_of(ParametersMove(), Corrupt())
    assert alarm is not None
    assert alarm.check == "too-large"
    assert "batch 5" in str(alarm)


@pytest.mark.parametrize(
    "module",
    [
        Wide(lr=0.02),
        Wide(lr=1e-3),
        Wide(lr=0.0),
        Wide(torch.optim.SGD, lr=0.1, momentum=0.9),
        Wide(torch.optim.SGD, lr=0.001),
    ],
)
def test_usual_updates_are_allowed(module: Wide) -> None:
    assert alarm_of(ParametersMove(), module, max_epochs=4) is None


def test_a_line_search_without_a_better_point_is_allowed_once_it_has_moved() -> None:
    class Arrived(Undone):
        undone = (2,)

    assert alarm_of(ParametersMove(), Arrived(torch.optim.LBFGS, max_iter=2)) is None
    assert alarm_of(ParametersMove(), Arrived()) is not None


def test_a_line_search_that_never_moves_anything_is_detected() -> None:
    alarm = alarm_of(ParametersMove(), Undone(torch.optim.LBFGS, max_iter=2))
    assert alarm is not None
    assert alarm.check == "unchanged"


def test_a_warm_up_from_zero_is_allowed() -> None:
    class Warming(Wide):
        def configure_optimizers(self) -> Any:
            optimizer = self.make()
            warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 5, 1.0))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warmup, "interval": "step"}}

    assert alarm_of(ParametersMove(), Warming()) is None


def test_a_short_training_is_not_judged_by_how_far_it_can_go() -> None:
    assert alarm_of(ParametersMove(), Wide(lr=1e-6), max_epochs=1) is None


def test_parameters_that_begin_at_zero_have_no_size_to_compare_with() -> None:
    class Zero(Wide):
        def __init__(self) -> None:
            super().__init__()
            self.body.requires_grad_(False)
            nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)  # type: ignore[func-returns-value]

    assert alarm_of(ParametersMove(), Zero()) is None


def _searched(rate: float) -> None:
    """Train by L-BFGS, which takes twenty updates in each of its steps."""
    torch.manual_seed(0)
    inputs, labels = points().tensors
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=rate)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    with watch(model, optimizer, guards=ParametersMove()):
        for _ in range(2):
            optimizer.step(closure)  # type: ignore[arg-type]


def test_a_step_of_many_updates_may_move_the_parameters_further() -> None:
    _searched(1.0)
    with pytest.raises(Alarm, match=r"moved the parameters by .* times their own size"):
        _searched(5.0)
