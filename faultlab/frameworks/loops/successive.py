"""Trainings that follow each other in one call, as the folds of a cross-validation do: the first of them is broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """The numbers of the first and of the last optimizer step that updates a module."""

    first: int
    last: int


def spans_apart(spans: Sequence[Span]) -> tuple[list[Span], list[Span]]:
    """Tell the modules that are trained together from those whose training begins after theirs has ended.

    Args:
        spans: Of each module that is trained, without parameters in common.

    Returns:
        The spans of the first training, and those of the later ones.
    """
    in_time = sorted(spans)
    end = in_time[0].last if in_time else 0
    together: list[Span] = []
    for span in in_time:
        if span.first > end:
            break
        together.append(span)
        end = max(end, span.last)
    return together, in_time[len(together) :]
