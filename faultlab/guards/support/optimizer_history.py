"""The steps that an optimizer has taken before a training was observed, as its state shows them."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def steps_before(optimizer: Any) -> int:
    """Return how many steps the state of an optimizer counts, 1 if it only shows that there were some, or 0."""
    counted, moved = 0, False
    for values in getattr(optimizer, "state", {}).values():
        if not isinstance(values, dict):
            continue
        steps = values.get("step")
        if steps is not None:
            number = steps if isinstance(steps, (int, float)) or getattr(steps, "numel", lambda: 0)() == 1 else 0
            counted = max(counted, int(number))
        else:
            moved = moved or any(isinstance(value, Tensor) and value.numel() > 1 for value in values.values())
    return counted or int(moved)
