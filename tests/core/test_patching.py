"""Replaced functions under every name that modules have for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from faultlab.core import references
from faultlab.core.patching import Make, Patches


def clip(value: int) -> int:
    return min(value, 10)


def adding(number: int) -> Make:
    def make(function: Callable[..., int]) -> Callable[..., int]:
        return lambda value: function(value) + number

    return make


@pytest.fixture
def importers(monkeypatch: pytest.MonkeyPatch) -> list[ModuleType]:
    """Two modules that have imported the function, each by a name of its own."""
    monkeypatch.setattr(references, "_FOUND", {})
    made = [ModuleType("first"), ModuleType("second")]
    for module, name in zip(made, ("clip", "shortened")):
        setattr(module, name, clip)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def test_a_function_is_replaced_and_restored_under_every_name(importers: list[ModuleType]) -> None:
    first, second = importers
    with Patches() as patches:
        patches.wrap_imported([clip], adding(1))
        assert (first.clip(5), second.shortened(50)) == (6, 11)
        assert first.clip is second.shortened
    assert first.clip is clip
    assert second.shortened is clip


def test_a_function_that_is_replaced_once_more_has_both_replacements_under_every_name(
    importers: list[ModuleType],
) -> None:
    first, second = importers
    with Patches() as outer:
        outer.wrap_imported([clip], adding(1))
        with Patches() as inner:
            inner.wrap_imported([first.clip], adding(100))
            assert (first.clip(5), second.shortened(5)) == (106, 106)
        assert (first.clip(5), second.shortened(5)) == (6, 6)
    assert (first.clip(5), second.shortened(5)) == (5, 5)


def test_modules_that_are_not_looked_at_keep_the_function(importers: list[ModuleType]) -> None:
    first, second = importers
    with Patches() as patches:
        patches.wrap_imported([clip], adding(1), _is_first)
        assert (first.clip(5), second.shortened(5)) == (6, 5)


def _is_first(module: ModuleType) -> bool:
    return module.__name__ == "first"
