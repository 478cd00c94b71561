"""Tables of many faults, folded by failure mode: a few faults of each have rows, and the rest share one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from faultlab.core.report import FaultResult

FEW = 5
"""The most faults of a failure mode that all have rows of their own."""
_SHOWN = 3


class Fold(NamedTuple):
    """The faults of one failure mode in a table: those with rows of their own, and those that share one."""

    shown: Sequence[FaultResult]
    folded: Sequence[FaultResult]

    @property
    def first(self) -> FaultResult:
        return self.shown[0]


def folds(faults: Sequence[FaultResult]) -> list[Fold]:
    """Return the faults by failure mode, in the order of their first occurrence."""
    grouped: dict[str, list[FaultResult]] = {}
    for fault in faults:
        grouped.setdefault(fault.mode, []).append(fault)
    return [
        Fold(found, ()) if len(found) <= FEW else Fold(found[:_SHOWN], found[_SHOWN:]) for found in grouped.values()
    ]
