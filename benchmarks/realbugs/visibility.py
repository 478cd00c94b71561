"""Ratings of bugs by two people who knew no detector's outcomes: can a bug be seen from within the training process?

A bug can be seen if there is a relation between what the process holds and does that the fixed version satisfies, the
buggy version violates, and every healthy training satisfies, or every one of a class that can be recognized from
within. It may not speak of the author's intent, of another run, of the source code, or of what a good value of a metric
would be for the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("visibility.jsonl")


@dataclass(frozen=True)
class Rating:
    """The decisions of two raters on a bug, with the relation that each of them had in mind or missed."""

    seen: tuple[bool, bool]
    relations: tuple[str, str]

    @property
    def by_any(self) -> bool:
        return any(self.seen)

    @property
    def by_both(self) -> bool:
        return all(self.seen)


@cache
def ratings() -> dict[str, Rating]:
    """Return the ratings by the id of the bug."""
    lines = map(json.loads, FILE.read_text(encoding="utf-8").splitlines())
    return {one["bug"]: Rating(tuple(one["seen"]), tuple(one["relations"])) for one in lines}


def agreement(rated: Mapping[str, Rating]) -> float:
    """Return Cohen's kappa of the two raters."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(*zip(*(one.seen for one in rated.values()))))
