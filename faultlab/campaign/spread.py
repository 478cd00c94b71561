"""How far clean runs lie apart: robustly, since one run that diverges must not make every other one look near."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_FAR = 10.0
_LEAST = 1.0
_TYPICAL = 4.0


def typical(values: Sequence[float]) -> list[float]:
    """The values without those that diverge: not finite, or ten times as far from the middle as half of them are.

    And at least ten times the middle's own size from it: seeds of a short training end at a third of each other.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 3:
        return finite
    middle = statistics.median(finite)
    half = statistics.median(abs(value - middle) for value in finite)
    limit = _FAR * max(half, _LEAST * abs(middle))
    # Where most are 0 there is no scale to be far on.
    return [value for value in finite if not limit or abs(value - middle) <= limit]


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of the typical ones; 0 where there are fewer than two."""
    kept = typical(values)
    return statistics.stdev(kept) if len(kept) > 1 else 0.0


def usual_gap(gaps: Sequence[float]) -> float:
    """How far apart two clean runs may be, given the distances of pairs of them: the largest that is not far off."""
    known = [gap for gap in gaps if gap and math.isfinite(gap)]
    return min(max(known), _TYPICAL * statistics.median(known)) if known else 0.0
