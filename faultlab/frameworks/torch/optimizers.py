"""Optimizers and schedulers in any of the forms that a training keeps them in: lists, pairs, dicts, or single ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch

_FEW, _MANY = (list, tuple, dict), 16
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")
_SCHEDULED_RATES = ("base_lrs", "max_lrs", "_last_lr")


def optimizers_in(result: Any) -> list[torch.optim.Optimizer]:
    """Return every optimizer in what ``configure_optimizers`` returned, in order."""
    return [part for part in _parts(result) if isinstance(part, torch.optim.Optimizer)]


def held_optimizers(module: Any, trainer: Any) -> list[torch.optim.Optimizer]:
    """Return every optimizer of the Trainer, and those that the module holds itself, singly or a few together."""
    kept = [*optimizers_in(getattr(trainer, "optimizers", None))]
    for value in list(vars(module).values()):
        if isinstance(value, torch.optim.Optimizer) or (isinstance(value, _FEW) and len(value) <= _MANY):
            kept += optimizers_in(value)
    return list(dict.fromkeys(kept))


def rate_in(group: Mapping[str, Any], *names: str) -> float | None:
    """Return the first rate of these names that a parameter group has, also one that is a tensor; None without one."""
    rate = next((group[name] for name in names if group.get(name) is not None), None)
    if isinstance(rate, torch.Tensor):
        return float(rate.detach()) if rate.numel() == 1 else None
    return float(rate) if isinstance(rate, (int, float)) else None


def groups_in(result: Any) -> list[dict[str, Any]]:
    """Return every parameter group of those optimizers, in order."""
    return [group for optimizer in optimizers_in(result) for group in optimizer.param_groups]


def schedulers_in(result: Any) -> list[Any]:
    """Return every scheduler in what ``configure_optimizers`` returned, in order."""
    return [part for part in _parts(result) if hasattr(part, "step") and not isinstance(part, torch.optim.Optimizer)]


def schedules_in(result: Any, monitor: Any = None) -> list[dict[str, Any]]:
    """Return every scheduler in what ``configure_optimizers`` returned, in order, as the dict that Lightning takes."""
    if isinstance(result, Mapping):
        if "scheduler" in result:
            return [dict(result)]
        return [found for value in result.values() for found in schedules_in(value, result.get("monitor"))]
    if isinstance(result, (list, tuple)):
        return [found for value in result for found in schedules_in(value, monitor)]
    return [{"scheduler": part, **({"monitor": monitor} if monitor else {})} for part in schedulers_in(result)]


def scale_rates(result: Any, factor: float) -> Any:
    """Multiply the learning rates in what ``configure_optimizers`` returned, including those in its schedulers."""
    for group in [group for optimizer in dict.fromkeys(optimizers_in(result)) for group in optimizer.param_groups]:
        group.update({name: group[name] * factor for name in _RATES if group.get(name) is not None})
    for outer in dict.fromkeys(schedulers_in(result)):
        for scheduler in [outer, *getattr(outer, "_schedulers", [])]:
            for name in _SCHEDULED_RATES:
                if isinstance(rates := getattr(scheduler, name, None), list):
                    setattr(scheduler, name, [rate * factor for rate in rates])
    return result


def equalize_rates(result: Any) -> Any:
    """Give all groups of an optimizer its highest learning rate, in its schedulers, too."""
    for optimizer in dict.fromkeys(optimizers_in(result)):
        rates = [rate_in(group, "initial_lr", "lr") or 0.0 for group in optimizer.param_groups]
        highest = rates.index(max(rates))
        for group in optimizer.param_groups:
            top = optimizer.param_groups[highest]
            group.update({name: copy.deepcopy(top[name]) for name in _RATES if name in group and name in top})
        for outer in dict.fromkeys(schedulers_in(result)):
            for scheduler in [outer, *getattr(outer, "_schedulers", [])]:
                for name in _SCHEDULED_RATES if getattr(scheduler, "optimizer", None) is optimizer else ():
                    if isinstance(own := getattr(scheduler, name, None), list) and len(own) == len(rates):
                        setattr(scheduler, name, [own[highest]] * len(own))
    return result


def hand_over(schedules: list[dict[str, Any]], old: torch.optim.Optimizer, new: torch.optim.Optimizer) -> None:
    """Give the old optimizer's schedulers to the new one, without a warning from torch."""
    for outer in [schedule["scheduler"] for schedule in schedules]:
        for scheduler in [outer, *getattr(outer, "_schedulers", [])]:
            if getattr(scheduler, "optimizer", None) is not old:
                continue
            settings = [dict(group) for group in new.param_groups]
            # A scheduler's constructor lets torch count the optimizer's steps; without that it warns of their order.
            torch.optim.lr_scheduler.LambdaLR(new, lambda epoch: 1.0)
            for group, before in zip(new.param_groups, settings):
                group.clear()
                group.update(before)
            scheduler.optimizer = new


def _parts(result: Any) -> Iterator[Any]:
    if isinstance(result, Mapping):
        for value in result.values():
            yield from _parts(value)
    elif isinstance(result, (list, tuple)):
        for value in result:
            yield from _parts(value)
    elif result is not None:
        yield result
