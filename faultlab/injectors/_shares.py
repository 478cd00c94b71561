"""The share of a list that a failure mode acts on."""

from __future__ import annotations

from typing import Any


def share(items: list[Any], fraction: float) -> list[Any]:
    """Return the first items of the list, as many as the fraction gives, but at least one."""
    return items[: max(1, int(fraction * len(items)))]
