"""A share of several things that a failure mode may act on."""

from __future__ import annotations

from typing import Any


def share(items: list[Any], fraction: float) -> list[Any]:
    """The first of the items, at least one, as many as the fraction says."""
    return items[: max(1, int(fraction * len(items)))]
