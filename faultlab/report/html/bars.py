"""A bar of segments: how the page shows a ratio taken apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One segment: so many failure modes or mutants; ``start`` and ``share`` are in percent."""

    name: str
    words: str
    count: int
    start: float
    share: float


def segments(counted: Iterable[tuple[str, str, int]]) -> list[Part]:
    """The segments in the order given, each by its style, its words and its count."""
    entries = list(counted)
    total, found, start = sum(count for _, _, count in entries), [], 0.0
    for name, words, count in entries:
        share = 100 * count / total if total else 0.0
        found.append(Part(name, words, count, round(start, 3), round(share, 3)))
        start += share
    return found
