"""Functions that several guards share: metrics, batches and losses of a training."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from faultlab.guards.support.training_view import TrainingView

ATTACHED = "__faultlab_attached__"
"""The attribute that marks a method that wraps a module's own."""

_AVERAGES = frozenset({"ema", "swa", "avg", "average", "averaged", "polyak", "shadow", "teacher", "smoothed"})


def number(value: Any) -> float | None:
    """Return a scalar as a float, None if it is not one."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        return float(value.detach())
    return float(value) if isinstance(value, (int, float)) else None


def metrics(trainer: TrainingView) -> dict[str, float]:
    """Return the scalars that callbacks can currently see."""
    logged = trainer.callback_metrics or {}
    found = {str(name): number(value) for name, value in dict(logged).items()}
    return {name: value for name, value in found.items() if value is not None}


def validation_loss(names: Any, wanted: str = "") -> str:
    """Return the name of the validation loss among some names, or the wanted name if it is among them."""
    if wanted:
        return wanted if wanted in names else ""
    fitting = [name for name in names if "val" in name.lower() and "loss" in name.lower()]
    return min(fitting, key=len, default="")


def tensors(batch: Any, depth: int = 4) -> list[torch.Tensor]:
    """Return the tensors of a batch, in order."""
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
    """Return the number of samples of a batch, None if its tensors disagree."""
    sizes = {len(tensor) for tensor in tensors(batch) if tensor.dim()}
    return sizes.pop() if len(sizes) == 1 else None


def is_average(name: str) -> bool:
    """Return whether a metric is of averaged weights, by its name. Such an average may begin late."""
    return not _AVERAGES.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def finite(value: float) -> bool:
    return math.isfinite(value)


def names(found: list[str]) -> str:
    """Return a few names, and how many more there are."""
    shown = ", ".join(found[:3])
    return shown if len(found) <= 3 else f"{shown} and {len(found) - 3} more"


def learns(pl_module: Any) -> bool:
    """Return whether Lightning runs backward and step for the module, so that the loss of a step is minimized."""
    return bool(getattr(pl_module, "automatic_optimization", True))


def loss_of(outputs: Any) -> torch.Tensor | None:
    """Return the loss in the output of a training step."""
    # Checking for a Mapping costs more than everything else.
    is_plain = type(outputs) is torch.Tensor or outputs is None
    is_mapping = type(outputs) is dict or (not is_plain and isinstance(outputs, Mapping))
    value = outputs.get("loss") if is_mapping else outputs
    if type(value) is not torch.Tensor and not isinstance(value, torch.Tensor):
        return None
    if value.numel() != 1:
        return None
    return value.detach() if value.requires_grad else value
