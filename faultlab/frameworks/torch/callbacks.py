"""Classification of callbacks of any class by their attributes: those that rank a metric, those that stop early."""

from __future__ import annotations

from typing import Any


def ranks(callback: Any) -> bool:
    """Return True if a callback compares values of a metric, as EarlyStopping and ModelCheckpoint do."""
    keeps_best = hasattr(callback, "best_score") or hasattr(callback, "kth_value")
    return isinstance(getattr(callback, "monitor", None), str) and _has_mode(callback) and keeps_best


def stops_early(callback: Any) -> bool:
    """Return True if a callback ends training when a metric no longer improves, as EarlyStopping does."""
    return ranks(callback) and isinstance(getattr(callback, "patience", None), int) and hasattr(callback, "strict")


def _has_mode(callback: Any) -> bool:
    return getattr(callback, "mode", None) in ("min", "max")
