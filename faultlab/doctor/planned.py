"""In the victim: what a Trainer plans, to compare it with what it does."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from faultlab.core.asking import asked

# The attributes that may hold a scheduler's length, in the unit that it is stepped by.
_LENGTHS = ("total_steps", "T_max", "total_iters", "T_0", "step_size")
_NOT_OVER = ("T_0", "step_size")


def plan(trainer: Any) -> dict[str, Any]:
    """Return the batches, steps and epochs that the Trainer plans once it has its loaders; None for an endless one."""
    found: dict[str, Any] = {"batches": _number(getattr(trainer, "num_training_batches", None))}
    epochs = getattr(trainer, "max_epochs", None)
    found["epochs"] = epochs if isinstance(epochs, int) and epochs >= 0 else None
    with contextlib.suppress(Exception):  # a loader that is missing, or that can't be read twice
        found["steps"] = _number(trainer.estimated_stepping_batches)
    total = None
    if found["batches"] is not None and found["epochs"] is not None:
        total = found["batches"] * found["epochs"]
    limit = getattr(trainer, "max_steps", -1)
    if isinstance(limit, int) and limit > 0:
        per_step = getattr(trainer, "accumulate_grad_batches", 1) or 1
        total = limit * per_step if total is None else min(total, limit * per_step)
    found["total_batches"] = total
    found["val_every"] = _number(getattr(trainer, "val_check_batch", None))
    found["val_across_epochs"] = getattr(trainer, "check_val_every_n_epoch", 1) is None
    found["val_time"] = getattr(trainer, "_val_check_time_interval", None)
    return found


def schedulers(trainer: Any) -> list[dict[str, Any]]:
    """Return the learning rate schedulers: their lengths, how they are stepped, and how often they were."""
    return [
        {
            **schedule(config.scheduler),
            "interval": config.interval,
            "frequency": config.frequency,
            "reaches": _reaches(config.scheduler, config.interval, trainer),
        }
        for config in getattr(trainer, "lr_scheduler_configs", None) or ()
    ]


def schedule(scheduler: Any) -> dict[str, Any]:
    """Return a scheduler's length, the argument that it is from, and how often it was stepped."""
    parts = [scheduler, *asked(scheduler, "_schedulers", ())]
    name, length = next(
        (
            (attribute, int(value))
            for attribute in _LENGTHS
            if isinstance(value := asked(scheduler, attribute), (int, float)) and value > 1
        ),
        ("", 0),
    )
    if len(parts) > 1:
        milestones = asked(scheduler, "_milestones") or [0]
        inner = [asked(part, attribute, 0) for part in parts[-1:] for attribute in _LENGTHS]
        length = int(milestones[-1]) + max([int(value) for value in inner if isinstance(value, (int, float))] or [0])
        name = "milestones"
    return {
        "name": type(scheduler).__name__,
        "length": length,
        "by": name,
        "ends": name not in _NOT_OVER,
        "turns": int(asked(scheduler, "last_epoch", 0) or 0),
        "base": max((float(one) for one in asked(scheduler, "base_lrs", ()) or ()), default=0.0),
        "milestones": _milestones(scheduler),
    }


def _milestones(scheduler: Any) -> list[float]:
    """Return the turns at which a schedule, or a part of it, looks for itself in a count of milestones."""
    parts = [scheduler, *(asked(scheduler, "_schedulers") or ())]
    # Those of a SequentialLR are compared, and may lie between two turns.
    counted = [found for one in parts if isinstance(found := asked(one, "milestones"), Mapping)]
    return [float(key) for found in counted for key in found if isinstance(key, (int, float))]


def _reaches(scheduler: Any, interval: str, trainer: Any) -> dict[str, Any] | None:
    """Return the highest factor of a LambdaLR within the training, and within ten times as many turns."""
    functions = asked(scheduler, "lr_lambdas")
    turns = plan(trainer).get("epochs" if interval == "epoch" else "steps")
    steps = plan(trainer).get("steps")
    if not functions or (not turns and not steps):
        return None
    if not turns:
        batches = plan(trainer).get("batches") or 1
        turns = max(1, (steps or 1) // batches)
    with contextlib.suppress(Exception):  # a function of the user's own
        later = min(max(10 * turns, steps or 0), 5000)
        return {
            "turns": turns,
            "highest": max(float(one(turn)) for one in functions for turn in range(turns)),
            "later": max(float(one(turn)) for one in functions for turn in range(later)),
        }
    return None


def loaders(trainer: Any) -> list[dict[str, Any]]:
    """Return the training loaders one by one, with their keys if there are several."""
    try:
        given = trainer.train_dataloader
    except Exception:  # the user's own hook may raise here too
        return []
    found: list[tuple[str, Any]] = []
    _flatten("", asked(given, "iterables", given), found)
    entries = []
    for key, loader in found:
        entry: dict[str, Any] = {"key": key, "type": type(loader).__name__}
        for name, thing in (("batches", loader), ("samples", asked(loader, "dataset"))):
            try:
                entry[name] = len(thing)
            except Exception:  # no length, or one that raises
                entry[name] = None
        entries.append(entry)
    return entries


def validates(trainer: Any) -> bool:
    """Return whether the Trainer has a validation loader."""
    with contextlib.suppress(Exception):  # the user's own hook may raise here too
        return bool(trainer.val_dataloaders)
    return False


def _flatten(key: str, given: Any, found: list[tuple[str, Any]]) -> None:
    if isinstance(given, Mapping):
        for name, value in given.items():
            _flatten(f"{key}.{name}" if key else str(name), value, found)
    elif isinstance(given, (list, tuple)):
        for index, value in enumerate(given):
            _flatten(f"{key}[{index}]", value, found)
    elif given is not None:
        found.append((key, given))


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
