"""What several guards read of a training in the same way: metrics, batches and losses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from faultlab.guards.support.training_view import TrainingView

ATTACHED = "__faultlab_attached__"
"""Marks a method that stands before a module's own."""

_AVERAGES = frozenset({"ema", "swa", "avg", "average", "averaged", "polyak", "shadow", "teacher", "smoothed"})


def number(value: Any) -> float | None:
    """A scalar as a float, None where it is none."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        return float(value.detach())
    return float(value) if isinstance(value, (int, float)) else None


def metrics(trainer: TrainingView) -> dict[str, float]:
    """The scalars that callbacks can see now."""
    logged = trainer.callback_metrics or {}
    found = {str(name): number(value) for name, value in dict(logged).items()}
    return {name: value for name, value in found.items() if value is not None}


def validation_loss(names: Any, wanted: str = "") -> str:
    """The name among some that is the loss of validation, and the wanted one where it is there."""
    if wanted:
        return wanted if wanted in names else ""
    fitting = [name for name in names if "val" in name.lower() and "loss" in name.lower()]
    return min(fitting, key=len, default="")


def tensors(batch: Any, depth: int = 4) -> list[torch.Tensor]:
    """The tensors of a batch, in its order."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    if depth == 0 or batch is None or isinstance(batch, (str, bytes)):
        return []
    if isinstance(batch, Mapping):
        parts: Any = batch.values()
    elif isinstance(batch, (list, tuple)):
        parts = batch
    else:
        parts = vars(batch).values() if hasattr(batch, "__dict__") and not isinstance(batch, nn.Module) else ()
    return [tensor for part in parts for tensor in tensors(part, depth - 1)]


def samples(batch: Any) -> int | None:
    """The number of samples of a batch, None where its tensors do not agree on it."""
    sizes = {len(tensor) for tensor in tensors(batch) if tensor.dim()}
    return sizes.pop() if len(sizes) == 1 else None


def is_average(name: str) -> bool:
    """Whether a metric is of averaged weights, by its name: such an average may begin late."""
    return not _AVERAGES.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def finite(value: float) -> bool:
    return math.isfinite(value)


def names(found: list[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(found[:3])
    return shown if len(found) <= 3 else f"{shown} and {len(found) - 3} more"


def learns(pl_module: Any) -> bool:
    """Whether Lightning does backward and step for the module, so that a step's loss is what is minimised."""
    return bool(getattr(pl_module, "automatic_optimization", True))


def loss_of(outputs: Any) -> torch.Tensor | None:
    """The loss in what a training step returned."""
    # Asking whether something is a Mapping costs more than all the rest.
    value = outputs.get("loss") if type(outputs) is dict or isinstance(outputs, Mapping) else outputs
    return value.detach() if isinstance(value, torch.Tensor) and value.numel() == 1 else None
