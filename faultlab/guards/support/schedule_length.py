"""The length of learning rate schedules in turns, and the unit that it is probably meant in."""

from __future__ import annotations

import functools
import itertools
import math
import types
from collections.abc import Sequence
from typing import Any

from torch.optim import lr_scheduler as stock

from faultlab.guards.support.training_plan import Plan

_LONG = 100
"""No warm-up and no period in epochs is as long as this."""
_MANY = 25
"""Nor is a warm-up in epochs if the training has an eighth of them."""
_TRIED = 500
"""The number of turns for which a function is tried out."""


def has_turns(config: Any) -> bool:
    return isinstance(getattr(config, "scheduler", None), stock.LRScheduler) and not getattr(
        config, "reduce_on_plateau", False
    )


def turns(scheduler: Any) -> int:
    return int(getattr(scheduler, "last_epoch", 0) or 0)


def length(scheduler: Any) -> float | None:
    """Return the number of turns after which a schedule ends, None if it has no end or that is unknown."""
    if isinstance(scheduler, stock.OneCycleLR):
        return float(scheduler.total_steps)
    if isinstance(scheduler, stock.CosineAnnealingLR):
        return float(scheduler.T_max)
    if isinstance(scheduler, stock.PolynomialLR) or (
        isinstance(scheduler, stock.LinearLR) and scheduler.end_factor < scheduler.start_factor
    ):
        return float(scheduler.total_iters)
    if isinstance(scheduler, stock.SequentialLR):
        last = length(scheduler._schedulers[-1])
        return None if last is None else scheduler._milestones[-1] + last
    if isinstance(scheduler, stock.ChainedScheduler):
        return max((found for part in scheduler._schedulers if (found := length(part))), default=None)
    return _keyword(scheduler, "num_training_steps")


def warm_up(scheduler: Any) -> float | None:
    """Return the number of turns that a schedule needs to reach its rate."""
    if isinstance(scheduler, stock.LinearLR) and scheduler.end_factor > scheduler.start_factor:
        return float(scheduler.total_iters)
    if isinstance(scheduler, stock.SequentialLR):
        return warm_up(scheduler._schedulers[0])
    return _keyword(scheduler, "num_warmup_steps")


def _rise(scheduler: Any, plan: Plan, turns: int) -> float | None:
    """Return the turn in which the function of a LambdaLR is highest, if it rises until the training ends."""
    functions = [f for f in getattr(scheduler, "lr_lambdas", None) or [] if isinstance(f, types.FunctionType)]
    if len(functions) != 1 or not 0 < turns < _TRIED:
        return None
    later = range(turns + 1, plan.steps + 1, max(1, plan.steps // _TRIED))
    try:
        own, rest = ([float(functions[0](turn)) for turn in part] for part in (range(turns + 1), later))
    except Exception:  # a user's function may only be defined for the turns that it expects
        return None
    highest = max(rest, default=0.0)
    rises = all(low < high for low, high in itertools.pairwise(own))
    return float(later[rest.index(highest)]) if rises and own[-1] < 0.5 * highest else None


def _keyword(scheduler: Any, name: str) -> float | None:
    """Return an argument of the function of a LambdaLR, as in transformers' schedules."""
    for function in getattr(scheduler, "lr_lambdas", None) or []:
        value = function.keywords.get(name) if isinstance(function, functools.partial) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    return None


def meant_in_steps(scheduler: Any, length: float | None, plan: Plan, turns: int) -> str:
    """Return the evidence that a schedule is defined in steps, empty if there is none."""
    if (
        length
        and 4 * turns <= length
        and (length == plan.batches_an_epoch or any(abs(length - n) <= 1 for n in plan.all_steps))
    ):
        return f"its length is {length:.0f}"
    rise = warm_up(scheduler) or _rise(scheduler, plan, turns)
    if rise and (max(_LONG, 4 * turns) <= rise or max(_MANY, 8 * turns) <= rise) and rise <= plan.steps:
        return f"its warm-up takes {rise:.0f}"
    if isinstance(scheduler, stock.CyclicLR):
        up = scheduler.total_size * scheduler.step_ratio
        if up >= max(_LONG, 10 * turns, plan.steps_an_epoch):
            return f"half a cycle takes {up:.0f}"
    if isinstance(scheduler, stock.StepLR):
        size, epoch = scheduler.step_size, plan.steps_an_epoch
        if epoch >= 20 and size % epoch == 0 and max(_LONG, 4 * turns) <= size < plan.steps:
            return f"a period takes {size}"
    if isinstance(scheduler, stock.MultiStepLR) and plan.steps >= 2 * _LONG:
        places = sorted(scheduler.milestones)
        parts = [place * 20 / plan.steps for place in places]
        rounded = all(abs(part - round(part)) * plan.steps <= 20 for part in parts)
        if places and max(4 * turns, plan.steps / 5) <= places[0] and places[-1] < plan.steps and rounded:
            return f"its milestones are {', '.join(map(str, places))}"
    return ""


def ends_in_epochs(scheduler: Any, length: float | None, plan: Plan, turns: int) -> Sequence[float]:
    """Return the milestones, or the length alone, of a schedule that is defined in epochs; empty if it is not."""
    if plan.epochs < 5 or turns < 4 * plan.epochs:
        return []
    if length and length == plan.epochs:
        return [length]
    if isinstance(scheduler, stock.MultiStepLR) and scheduler.gamma < 1:
        places = sorted(scheduler.milestones)
        if len(places) > 1 and plan.epochs / 2 <= places[-1] < min(plan.epochs, plan.steps_an_epoch):
            return places
    return []
