"""Which loaders of a loop count its steps, and where one training ends and another begins."""

from __future__ import annotations

import io
import threading

import pytest

from faultlab.frameworks.loops.sources import Roles, roles
from faultlab.frameworks.loops.stepped import Stepped, in_turn


def events(text: str) -> list[frozenset[str]]:
    return [frozenset(word) for word in text.split()]


@pytest.mark.parametrize(
    ("learnt", "expected"),
    [
        ("a a a a", Roles(("a",))),
        ("ab ab ab", Roles(("a",), ("b",))),
        ("a b a b a b a b", Roles(("a",), ("b",))),
        ("a a a a b b b b", Roles(("a", "b"))),
        ("ap a a a", Roles(("a",), (), ("p",))),
        ("a", Roles(("a",))),
        ("", Roles()),
    ],
    ids=[
        "one loader",
        "two at once",
        "two in turn in each step",
        "one after the other",
        "a look at the first batch",
        "one batch",
        "no loader",
    ],
)
def test_loaders_are_told_apart_by_when_their_batches_are_learnt_from(learnt: str, expected: Roles) -> None:
    assert roles(events(learnt)) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("aaa", ["a"]),
        ("abab", ["ab"]),
        ("aabbcc", ["a", "b", "c"]),
        ("aababccdd", ["ab", "c", "d"]),
    ],
    ids=["one", "in turn", "folds", "overlapping"],
)
def test_what_is_trained_after_the_first_training_is_another(steps: str, expected: list[str]) -> None:
    stepped = {name: Stepped(0) for name in steps}
    for number, name in enumerate(steps):
        stepped[name].numbers.append(number)
        stepped[name].held[ord(name)] = 1
    assert ["".join(sorted(map(chr, one.held))) for one in in_turn(stepped.values())] == expected


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
