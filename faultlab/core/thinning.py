"""Thinning of curves, which are series of (step, value), to what a chart can show."""

from __future__ import annotations

import math
from collections.abc import Sequence

LONGEST = 160
Point = tuple[int, float]


def thinned(series: Sequence[Point], longest: int = LONGEST) -> list[Point]:
    """Return the series, or its ends and the lowest and highest point of each of its equal stretches.

    If a stretch holds values that are not finite, the first of them is kept.
    """
    if len(series) <= longest:
        return list(series)
    buckets = longest // 2 - 1
    inner, kept = series[1:-1], [series[0]]
    for number in range(buckets):
        stretch = inner[number * len(inner) // buckets : (number + 1) * len(inner) // buckets]
        finite = [point for point in stretch if math.isfinite(point[1])]
        broken = [point for point in stretch if not math.isfinite(point[1])][:1]
        extremes = [min(finite, key=_value), max(finite, key=_value)] if finite else []
        chosen = list(dict.fromkeys([*broken, *extremes]))[:2]
        kept += sorted(chosen, key=lambda point: point[0])
    return [*kept, series[-1]]


def _value(point: Point) -> float:
    return point[1]
