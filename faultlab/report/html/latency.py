"""The latencies of detections: the steps from a fault's first activation to its first detection."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from faultlab.core.comparison import latency_of
from faultlab.core.report import Report
from faultlab.report.html.bars import Part, segments

_BOUNDS = (0, 1, 3, 7, 15, 31, 63)


class Bucket(NamedTuple):
    """The faults with a latency in a range; ``parts`` counts them by the worth of their best detection."""

    words: str
    faults: int
    share: float
    parts: list[Part]


def distribution(report: Report) -> dict[str, Any] | None:
    """Return the detected faults by latency and the median in steps; None if no fault was detected."""
    firsts: list[tuple[int, int]] = []
    for fault in report.faults:
        latency = latency_of(fault)
        if latency is not None and fault.best is not None:
            firsts.append((latency, fault.best.worth))
    if not firsts:
        return None
    latest = max(latency for latency, _ in firsts)
    bounds = [bound for index, bound in enumerate(_BOUNDS) if index == 0 or _BOUNDS[index - 1] < latest]
    ranges = [(low + 1, high) for low, high in zip([-1, *bounds], bounds)]
    if latest > bounds[-1]:
        ranges.append((bounds[-1] + 1, latest))
    found = [[worth for latency, worth in firsts if low <= latency <= high] for low, high in ranges]
    most = max(map(len, found))
    buckets = [
        Bucket(
            _range(low, high),
            len(worths),
            100 * len(worths) / most,
            segments((f"part{worth}", "", worths.count(worth)) for worth in range(4)),
        )
        for (low, high), worths in zip(ranges, found)
    ]
    return {"buckets": buckets, "median": statistics.median(latency for latency, _ in firsts), "total": len(firsts)}


def _range(low: int, high: int) -> str:
    if high == 0:
        return "in the same step"
    steps = f"{low}" if low == high else f"{low} to {high}"
    return f"{steps} step{'' if high == 1 else 's'} later"
