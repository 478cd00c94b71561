"""Robust measures of the spread of clean runs: a run that diverges must not widen it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_FAR = 10.0
_LEAST = 1.0
_TYPICAL = 4.0


def typical(values: Sequence[float]) -> list[float]:
    """Return the values without those that diverge: not finite, or over ten median deviations from the median.

    A value that diverges is also at least ten times the median's size from it: seeds of a short training may differ by
    a factor of three.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 3:
        return finite
    middle = statistics.median(finite)
    half = statistics.median(abs(value - middle) for value in finite)
    limit = _FAR * max(half, _LEAST * abs(middle))
    # If most are 0, there is no scale.
    return [value for value in finite if not limit or abs(value - middle) <= limit]


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of the typical values; 0 for fewer than two."""
    kept = typical(values)
    return statistics.stdev(kept) if len(kept) > 1 else 0.0


def usual_gap(gaps: Sequence[float]) -> float:
    """Return the largest typical distance, from the distances of pairs of clean runs."""
    known = [gap for gap in gaps if gap and math.isfinite(gap)]
    return min(max(known), _TYPICAL * statistics.median(known)) if known else 0.0
