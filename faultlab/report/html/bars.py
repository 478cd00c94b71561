"""A bar of segments: the parts of a ratio."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One segment with its count of failure modes or mutants; ``start`` and ``share`` are in percent."""

    name: str
    words: str
    count: int
    start: float
    share: float


def segments(counted: Iterable[tuple[str, str, int]]) -> list[Part]:
    """Return the segments in the given order, each from its style, words and count."""
    entries = list(counted)
    total, found, start = sum(count for _, _, count in entries), [], 0.0
    for name, words, count in entries:
        share = 100 * count / total if total else 0.0
        found.append(Part(name, words, count, round(start, 3), round(share, 3)))
        start += share
    return found
