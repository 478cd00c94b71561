"""Callbacks by what they hold, whoever's they are: which judge by a metric, and which of them stop early."""

from __future__ import annotations

from typing import Any


def ranks(callback: Any) -> bool:
    """Whether a callback tells a better value of a metric from a worse one, as EarlyStopping and ModelCheckpoint do."""
    keeps_best = hasattr(callback, "best_score") or hasattr(callback, "kth_value")
    return isinstance(getattr(callback, "monitor", None), str) and _has_mode(callback) and keeps_best


def stops_early(callback: Any) -> bool:
    """Whether a callback ends training when a metric no longer gets better, as EarlyStopping does."""
    return ranks(callback) and isinstance(getattr(callback, "patience", None), int) and hasattr(callback, "strict")


def _has_mode(callback: Any) -> bool:
    return getattr(callback, "mode", None) in ("min", "max")
