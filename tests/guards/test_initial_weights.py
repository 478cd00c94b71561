"""InitialWeights: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.guards import InitialWeights
from tests.guards.rig import Healthy, alarm_of


class Begun(Healthy):
    """A module whose weights are initialized by a function."""

    def __init__(self, begin: Callable[[Any], Any]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        with torch.no_grad():
            begin(self)


def spoil(module: Any) -> None:
    module.head.weight[1, 3] = torch.nan


def all_of(turn: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda module: [turn(parameter) for parameter in module.parameters()]  # type: ignore[func-returns-value,return-value]


@pytest.mark.parametrize(
    ("begin", "check", "word"),
    [
        (spoil, "not-finite", "head.weight"),
        (all_of(nn.init.zeros_), "zero", "zero"),
        (all_of(lambda p: nn.init.constant_(p, 0.1)), "constant", "symmetry"),
        (all_of(lambda p: p.mul_(100)), "huge", "initialized too large"),
        (lambda module: nn.init.constant_(module.body[0].bias, -100.0), "shifted", "body.0.bias"),
    ],
)
def test_weights_that_nothing_can_be_learnt_from_are_detected(
    begin: Callable[[Any], Any], check: str, word: str
) -> None:
    alarm = alarm_of(InitialWeights(), Begun(begin))
    assert alarm is not None
    assert alarm.check == check
    assert word in str(alarm)


@pytest.mark.parametrize(
    "begin",
    [
        lambda module: nn.init.zeros_(module.head.weight),
        lambda module: nn.init.constant_(module.head.bias, 150.0),
        lambda module: nn.init.normal_(module.head.weight),
        lambda module: nn.init.orthogonal_(module.body[2].weight, gain=3.0),
        lambda module: setattr(module, "scale", nn.Parameter(torch.ones(8, 1, 1))),
        lambda module: module.register_buffer("mask", torch.full((2, 2), -torch.inf)),
        lambda module: module.body[2].requires_grad_(False).weight.fill_(0.125),
        lambda module: setattr(module, "words", nn.Embedding(50, 8)),
    ],
)
def test_usual_beginnings_are_allowed(begin: Callable[[Any], Any]) -> None:
    assert alarm_of(InitialWeights(), Begun(begin), max_epochs=1) is None
