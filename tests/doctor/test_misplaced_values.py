"""Values in the wrong place or unit: milestones that are never reached, a decay as momentum, scaled gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, MultiStepLR, SequentialLR

from faultlab.core.patching import Patches
from faultlab.doctor import milestones, momentum, planned
from faultlab.doctor.loops.gradients import Gradients
from faultlab.doctor.loops.weights import WEIGHTS


def _optimizer(**settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, **settings)


def _stepped(optimizer: torch.optim.Optimizer, scheduler: Any, turns: int = 20) -> list[str]:
    for _ in range(turns):
        optimizer.step()
        scheduler.step()
    return [one.what for one in milestones.unreached({"schedulers": [planned.schedule(scheduler)]})]


def test_milestones_between_two_steps_and_beyond_the_end_are_found_and_integral_ones_are_not() -> None:
    def told(*at: float) -> list[str]:
        optimizer = _optimizer()
        return _stepped(optimizer, MultiStepLR(optimizer, at))  # type: ignore[arg-type]

    assert ["not integers" in what for what in told(10.5, 16.4)] == [True]
    assert ["shares of the training" in what for what in told(0.5, 0.8)] == [True]
    assert ["its first milestone is 30" in what for what in told(30, 60)] == [True]
    assert told(10, 60) == []
    assert told(10.0, 16.0) == []


def test_the_milestones_of_a_sequence_are_compared_and_may_lie_between_two_steps() -> None:
    optimizer = _optimizer()
    parts = [ConstantLR(optimizer), ConstantLR(optimizer)]
    assert _stepped(optimizer, SequentialLR(optimizer, parts, [4.5])) == []  # type: ignore[list-item]


def test_a_momentum_of_the_size_of_a_weight_decay_is_found() -> None:
    def told(optimizer: torch.optim.Optimizer) -> list[str]:
        return [one.what for one in momentum.swapped({"momenta": {"SGD": momentum.of_optimizer(optimizer)}})]

    assert ["the momentum of SGD is 0.0005" in what for what in told(_optimizer(momentum=5e-4))] == [True]
    assert told(_optimizer(momentum=0.9, weight_decay=5e-4)) == []
    assert told(_optimizer(weight_decay=5e-4)) == []
    assert told(torch.optim.Adam([nn.Parameter(torch.ones(2))], 1e-3)) == []


@pytest.mark.parametrize(
    ("unscales", "limit", "ill"), [(False, 1.0, True), (True, 1.0, False), (False, 65536.0, False)]
)
def test_gradients_that_are_clipped_before_they_are_unscaled_are_found(unscales: bool, limit: float, ill: bool) -> None:
    net, gradients = nn.Linear(4, 1), Gradients()
    optimizer, scaler = torch.optim.SGD(net.parameters(), 0.1), torch.amp.GradScaler("cpu")
    clip = gradients.clipping(torch.nn.utils.clip_grad_norm_)
    with Patches() as patches:
        patches.wrap(torch.amp.GradScaler, "scale", gradients.scaling)
        patches.wrap(torch.amp.GradScaler, "unscale_", gradients.unscaling)
        for _ in range(4):
            optimizer.zero_grad()
            scaler.scale(net(torch.ones(2, 4)).mean()).backward()
            gradients.after_backward()
            if unscales:
                scaler.unscale_(optimizer)
            clip(net.parameters(), limit)
            scaler.step(optimizer)
            gradients.after_step(optimizer)
            scaler.update()
    seen = {"gradients": {**gradients.seen, "steps": 4}, "optimizers": ["SGD"], "losses": [1.0] * 4, "places": {}}
    (check,) = (one for one in WEIGHTS.known if one.name == "gradient clipping")
    assert ["still multiplied" in one.what for one in check.run(seen)] == [True] * ill
