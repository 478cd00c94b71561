"""Where modules have a name for an object, and when they are searched for it again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from faultlab.core import references as module
from faultlab.core.references import references

Made = Callable[..., ModuleType]


def wanted() -> None:
    """The object that modules have imported."""


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes a module with these names, as an import does."""

    def making(name: str, **names: object) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    monkeypatch.setattr(module, "_FOUND", {})
    return making


def found(*values: object) -> set[tuple[str, str]]:
    return {(one.__name__, name) for one, name, _ in references(values or [wanted]) if one.__name__ != __name__}


def test_every_name_of_every_module_is_found(make: Made) -> None:
    make("first", known=wanted, other=print)
    make("second", known=wanted, too=wanted)
    assert found() == {("first", "known"), ("second", "known"), ("second", "too")}
    assert ("first", "other") in found(wanted, print)


def test_a_module_that_comes_or_gains_a_name_is_searched_again(make: Made) -> None:
    first = make("first", other=print)
    assert found() == set()
    vars(first)["known"] = wanted
    make("second", known=wanted)
    assert found() == {("first", "known"), ("second", "known")}


def test_a_name_of_the_users_that_gets_another_value_is_found(make: Made) -> None:
    own = make("own", known=None, __file__="train.py")
    assert found() == set()
    vars(own)["known"] = wanted
    assert found() == {("own", "known")}


def test_what_a_name_no_longer_means_and_a_module_that_is_gone_are_not_found(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make("first", known=wanted, other=print)
    make("second", known=wanted)
    assert len(found()) == 2
    vars(first)["known"] = print
    monkeypatch.delitem(sys.modules, "second")
    assert found() == set()
    vars(first)["known"] = wanted
    assert found() == {("first", "known")}


def test_another_module_of_the_same_name_is_searched_anew(make: Made) -> None:
    make("first", known=print)
    assert found() == set()
    make("first", known=wanted)
    assert found() == {("first", "known")}


def test_a_module_that_has_not_changed_is_searched_once(make: Made) -> None:
    make("first", known=wanted)
    searched: list[str] = []

    def looks_at(one: ModuleType) -> bool:
        searched.append(one.__name__)
        return one.__name__ == "first"

    for _ in range(2):
        assert [name for _, name, _ in references([wanted], looks_at)] == ["known"]
    assert searched.count("first") == 1


def test_results_are_kept_for_few_objects(make: Made) -> None:
    for _ in range(module._MOST + 3):
        list(references([object()]))
    assert len(module._FOUND) == module._MOST


def test_modules_of_faultlab_count_as_installed_wherever_they_are(make: Made) -> None:
    own = make("own", known=None, __file__=module.__file__)
    assert found() == set()
    vars(own)["known"] = wanted
    assert found() == set()
