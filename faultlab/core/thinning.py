"""Curves: series of (step, value), thinned to what a chart has room to show."""

from __future__ import annotations

import math
from collections.abc import Sequence

LONGEST = 160
Point = tuple[int, float]


def thinned(series: Sequence[Point], longest: int = LONGEST) -> list[Point]:
    """The series, or of equal stretches of it the lowest and the highest point, and what begins and ends it.

    Of a stretch that holds a value that is not finite the first such is kept.
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
