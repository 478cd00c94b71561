"""Which loaders of a loop count its steps, and where one training ends and another begins."""

from __future__ import annotations

import io
import threading

import pytest

from faultlab.frameworks.loops.sources import Roles, roles
from faultlab.frameworks.loops.successive import Span, spans_apart


def events(text: str) -> list[frozenset[str]]:
    return [frozenset(word) for word in text.split()]


@pytest.mark.parametrize(
    ("learnt", "updates", "expected"),
    [
        ("a a a a", 4, Roles(("a",))),
        ("ab ab ab", 3, Roles(("a",), ("b",))),
        ("a b a b a b a b", 4, Roles(("a",), ("b",))),
        ("a a a a b b b b", 8, Roles(("a", "b"))),
        ("ap a a a", 4, Roles(("a",), (), ("p",))),
        ("a", 50, Roles((), (), ("a",))),
        ("a", 1, Roles(("a",))),
        ("", 9, Roles()),
    ],
    ids=[
        "one loader",
        "two at once",
        "two in turn in each step",
        "one after the other",
        "a look at the first batch",
        "one batch for all updates",
        "one update",
        "no loader",
    ],
)
def test_loaders_are_told_apart_by_when_their_batches_are_learnt_from(
    learnt: str, updates: int, expected: Roles
) -> None:
    assert roles(events(learnt), updates) == expected


@pytest.mark.parametrize(
    ("spans", "first", "later"),
    [
        ([(0, 9)], 1, 0),
        ([(0, 98), (1, 99)], 2, 0),
        ([(20, 29), (0, 9), (10, 19)], 1, 2),
        ([(0, 9), (5, 14), (10, 20), (21, 30)], 3, 1),
    ],
    ids=["one", "in turn", "folds", "overlapping"],
)
def test_what_is_trained_after_the_first_training_is_another(
    spans: list[tuple[int, int]], first: int, later: int
) -> None:
    together, others = spans_apart([Span(*span) for span in spans])
    assert (len(together), len(others)) == (first, later)
    assert together[0].first == 0


def test_a_progress_bar_starts_no_thread_that_would_prevent_forks() -> None:
    from tqdm import tqdm

    from faultlab.core.patching import Patches
    from faultlab.frameworks.loops import progress_bars

    before = threading.active_count()
    with Patches() as patches:
        progress_bars.without_monitor(patches)
        list(tqdm(range(3), disable=None))
        list(tqdm(range(3), file=io.StringIO()))
        assert threading.active_count() == before
    assert tqdm.monitor_interval
