"""The calls of torch in a clean step that some failure modes change: attention, weighted losses, stopped gradients."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.nn import functional

from faultlab.injection import attention

WEIGHTED: Mapping[str, tuple[str, int]] = {
    "cross_entropy": ("weight", 2),
    "nll_loss": ("weight", 2),
    "binary_cross_entropy_with_logits": ("pos_weight", 6),
}
"""The losses of `torch.nn.functional` that take a weight for each class: the argument's name and position."""


class StepCalls:
    """Notes the calls of torch's functions in a step.

    Attributes:
        causal: An attention hides later positions.
        weighted: A loss has unequal weights of classes.
    """

    def __init__(self) -> None:
        self.causal = False
        self.weighted = False

    def note(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note one call."""
        name = getattr(function, "__name__", "")
        if name not in _NOTED or getattr(functional, name, None) is not function:
            return
        if name in WEIGHTED:
            self.weighted = self.weighted or unequal(class_weights(name, args, kwargs))
        else:
            given = attention.named(name, args, kwargs)
            self.causal = self.causal or attention.attending(name, given).hides_later


_NOTED = frozenset({*WEIGHTED, *attention.FUNCTIONS})


def class_weights(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the weights of classes that a loss is called with, or None."""
    keyword, position = WEIGHTED[name]
    return args[position] if len(args) > position else kwargs.get(keyword)


def unequal(weights: Any) -> bool:
    """Return True for weights of several classes that are not all the same."""
    if not isinstance(weights, torch.Tensor) or weights.ndim != 1 or len(weights) < 2:
        return False
    return attention.is_true((weights != weights[0]).any())


def stops_gradient(function: Any, given: list[torch.Tensor]) -> bool:
    """Return True for a call that detaches a tensor from its graph."""
    return function is torch.Tensor.detach and bool(given) and given[0].requires_grad and torch.is_grad_enabled()


def calling_line(depth: int = 1) -> str:
    """Return the innermost line that runs outside of torch and faultlab, as ``file:line``, without the folder."""
    frame: FrameType | None = sys._getframe(depth + 1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ("torch", "faultlab"):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
