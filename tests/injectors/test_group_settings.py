"""Parameter groups and schedules: one rate for all, no exemption from weight decay, and warm-ups."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from faultlab.frameworks.torch.optimizers import equalize_rates
from faultlab.frameworks.torch.rates import WarmUp, configured
from faultlab.injection.armed_fault import Call
from faultlab.injectors.optimizer_groups import decay_all_groups
from faultlab.injectors.scheduler_warm_up import restart_each_epoch, skip_warm_up


def two_groups(low: float = 0.01, high: float = 0.1, decay: float = 0.5) -> torch.optim.Optimizer:
    first, last = nn.Linear(2, 2), nn.Linear(2, 1)
    groups: list[dict[str, Any]] = [
        {"params": list(first.parameters()), "lr": low},
        {"params": list(last.parameters()), "lr": high, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, weight_decay=decay)


def rises(optimizer: torch.optim.Optimizer, steps: int = 4) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / steps))


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


SCHEDULES = {
    "warm-up": rises,
    "by a factor": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.5),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 5),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, [0.01, 0.1], 6),
    "one after the other": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2), lr_scheduler.CosineAnnealingLR(optimizer, 4)],
        milestones=[2],
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_all_groups_follow_the_schedule_of_the_highest_rate(schedule: str) -> None:
    clean, equal = two_groups(), two_groups()
    own, changed = SCHEDULES[schedule](clean), SCHEDULES[schedule](equal)
    equalize_rates(([equal], [{"scheduler": changed}]))
    for _ in range(5):
        assert rates(equal) == pytest.approx([rates(clean)[1]] * 2)
        for optimizer, scheduler in ((clean, own), (equal, changed)):
            optimizer.step()
            scheduler.step()


def test_the_decay_of_one_group_applies_to_all() -> None:
    optimizer = two_groups()
    decay_all_groups(optimizer, None)  # type: ignore[arg-type]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_settings_that_differ_between_groups_are_found_within_an_optimizer_only() -> None:
    assert configured([two_groups()]) == {"decays": True, "group_settings": ("lr", "weight_decay")}
    assert configured([two_groups(high=0.01, decay=0.0)]) == {"decays": False, "group_settings": ()}
    alone = [torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=rate) for rate in (0.1, 0.2)]
    assert configured(alone)["group_settings"] == ()


@pytest.mark.parametrize(("schedule", "turns"), [("warm-up", 3), ("by a factor", 0), ("one after the other", 2)])
def test_a_warm_up_has_as_many_turns_as_the_schedule_needs_to_its_highest_rate(schedule: str, turns: int) -> None:
    optimizer = two_groups()
    scheduler, seen = SCHEDULES[schedule](optimizer), WarmUp()
    for _ in range(6):
        seen.updating([optimizer], [scheduler])
        optimizer.step()
        scheduler.step()
    assert seen.turns == turns


def test_without_its_warm_up_a_schedule_begins_at_the_highest_rate_and_torch_warns_of_nothing() -> None:
    optimizer = two_groups()
    ctx: Any = SimpleNamespace(profile=SimpleNamespace(warm_up=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        skip_warm_up(([optimizer], [scheduler := rises(optimizer)]), ctx)
        assert rates(optimizer) == [0.01, 0.1]
        optimizer.step()
        scheduler.step()


def test_a_schedule_by_step_begins_again_with_each_epoch_and_one_by_epoch_does_not() -> None:
    by_step, by_epoch = two_groups(), two_groups()
    step_scheduler, epoch_scheduler = rises(by_step, 8), lr_scheduler.ExponentialLR(by_epoch, 0.5)
    ctx: Any = SimpleNamespace(memory={}, step=0, epoch=0, profile=SimpleNamespace(steps_per_epoch=3))

    def turn(scheduler: Any) -> None:
        ctx.memory["scheduler"] = scheduler
        restart_each_epoch(Call(scheduler.step), ctx)

    seen = []
    for ctx.step in range(9):
        ctx.epoch = ctx.step // 3
        seen.append(rates(by_step)[1])
        by_step.step()
        turn(step_scheduler)
        if ctx.step % 3 == 2:
            by_epoch.step()
            turn(epoch_scheduler)
    assert seen == pytest.approx([0.1 / 8, 0.2 / 8, 0.3 / 8] * 3)
    assert rates(by_epoch)[1] == pytest.approx(0.1 / 8)
