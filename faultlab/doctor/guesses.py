"""In the victim: the loss of the best constant prediction, which a model that has learnt something is below."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LOSSES = {
    "cross_entropy": "classes",
    "nll_loss": "classes",
    "mse_loss": "numbers",
    "l1_loss": "numbers",
    "smooth_l1_loss": "numbers",
    "huber_loss": "numbers",
    "binary_cross_entropy": "yes or no",
    "binary_cross_entropy_with_logits": "yes or no",
}
"""The kinds of targets of torch's losses, by function."""
_SQUARED, _MOST = ("mse_loss",), 20_000


class Guesses:
    """Collects the targets of the losses in the first steps of a training."""

    def __init__(self) -> None:
        self._targets: dict[str, list[Any]] = {}

    def look(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Take in a call of a torch function."""
        import torch

        target = args[1] if len(args) > 1 else kwargs.get("target")
        if name not in LOSSES or not isinstance(target, torch.Tensor) or not target.dim():
            return
        known = self._targets.setdefault(name, [])
        if sum(one.numel() for one in known) < _MOST:
            known.append(target.detach().flatten().cpu())

    def loss(self) -> float | None:
        """Return the loss of the best constant prediction; None if unknown, or if there are several losses."""
        import torch

        if len(self._targets) != 1:
            return None
        ((name, targets),) = self._targets.items()
        if LOSSES[name] == "numbers" and name not in _SQUARED:
            return None
        return constant(torch.cat(targets), LOSSES[name])


def constant(targets: Any, kind: str) -> float | None:
    """Return the loss of the best constant prediction for targets of a kind; squared errors for numbers."""
    if kind == "classes" and not targets.is_floating_point():
        shares = targets.flatten().unique(return_counts=True)[1].double() / targets.numel()
        return float(-(shares * shares.log()).sum())
    if kind == "yes or no":
        share = float(targets.double().mean())
        return -sum(one * math.log(one) for one in (share, 1 - share) if one > 0) if 0 <= share <= 1 else None
    return float(targets.double().var(unbiased=False)) if targets.is_floating_point() else None
