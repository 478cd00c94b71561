"""In the victim: the optimizers' requested rates, what their schedules made of them, and the number of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.frameworks.torch.optimizers import rate_in

# How far below a loss to look for a factor: a division by the number of batches is at its end.
_DEPTH = 3
_FACTORS = ("Div", "Mul")
# Optimizers whose step is about as long as the rate, whatever the gradient.
_AS_LONG_AS_THE_RATE = ("Adam", "Lion", "Adan")
_LOW = {"bf16-true": "bfloat16", "16-true": "float16"}


class Updates:
    """Fills ``seen["updates"]``.

    ``backwards``, ``steps``, ``used`` (backwards up to the last step) and ``scaled`` (whether a loss has a factor).
    """

    def __init__(self, seen: dict[str, Any]) -> None:
        self._counts: dict[str, Any] = {"backwards": 0, "steps": 0, "used": 0, "scaled": False}
        self._asked: list[tuple[Any, float]] = []
        seen["updates"] = self._counts

    def hook(self, name: str, given: tuple[Any, ...]) -> None:
        """Take in a hook that Lightning is about to call on its callbacks."""
        if name == "on_before_backward":
            self._counts["backwards"] += 1
            # The first few represent all.
            if given and self._counts["backwards"] <= _DEPTH:
                self._counts["scaled"] |= _has_factor(getattr(given[0], "grad_fn", None), _DEPTH)
        elif name == "on_before_optimizer_step":
            self._counts["steps"] += 1
            self._counts["used"] = self._counts["backwards"]

    def grouping(self, add: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``Optimizer.add_param_group`` to record a group's rate before a schedule changes it."""

        def adding(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            added = add(optimizer, *args, **kwargs)
            if (rate := rate_in(optimizer.param_groups[-1], "lr")) is not None:
                self._asked.append((optimizer, rate))
            return added

        return adding

    def groups(self, trainer: Any) -> list[dict[str, Any]]:
        """Return the optimizers' rates by group: those ``asked`` for, and the ``bases`` or peaks that a schedule starts
        from."""
        found = []
        for optimizer in getattr(trainer, "optimizers", None) or ():
            asked = [rate for one, rate in self._asked if one is optimizer]
            rates = [rate_in(group, "max_lr", "initial_lr", "lr") for group in optimizer.param_groups]
            bases = [rate for rate in rates if rate is not None]
            if len(bases) == len(rates):
                decays = [float(group.get("weight_decay") or 0.0) for group in optimizer.param_groups]
                found.append(
                    {
                        "name": type(optimizer).__name__,
                        "asked": asked,
                        "bases": bases,
                        "decay": max(decays, default=0.0),
                    }
                )
        return found


def rounded_away(trainer: Any, asked_for: Any) -> dict[str, Any] | None:
    """Return the share of half-precision weights that one step is too small to change; None if there are no such
    weights.

    Args:
        trainer: Its optimizers' rates and weights are read as they are.
        asked_for: The precision that the script passed to its Trainer, which the doctor may have left out.
    """
    import torch

    # The rate at the end of a schedule does not represent the training.
    total = lost = 0
    name, kind, largest = "", None, 0.0
    for optimizer in getattr(trainer, "optimizers", None) or ():
        if not any(word in type(optimizer).__name__ for word in _AS_LONG_AS_THE_RATE):
            continue
        for group in optimizer.param_groups:
            rate = group.get("initial_lr", group.get("lr"))
            for value in group["params"]:
                low = getattr(torch, _LOW[asked_for]) if asked_for in _LOW else value.dtype
                if low not in (torch.bfloat16, torch.float16) or not value.requires_grad or not value.numel():
                    continue
                kept = value.detach().to(low)
                total += kept.numel()
                lost += int(((kept.float() - float(rate)).to(low) == kept).sum())
                name, kind, largest = type(optimizer).__name__, low, max(largest, float(rate))
    if not total:
        return None
    return {"share": lost / total, "type": str(kind).removeprefix("torch."), "optimizer": name, "rate": largest}


def _has_factor(node: Any, depth: int) -> bool:
    if node is None or not depth:
        return False
    if type(node).__name__.startswith(_FACTORS):
        return True
    return any(_has_factor(before, depth - 1) for before, _ in getattr(node, "next_functions", ()))
