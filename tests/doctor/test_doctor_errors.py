"""The errors that beginners meet in their first steps: each true one has a cause and a remedy in their terms."""

from __future__ import annotations

import re
import warnings

import pytest

from faultlab.doctor.errors import explained, known
from tests.beginners_errors import MET, TOLD, Met


def _raised(met: Met) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            met.act()
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
    raise AssertionError(f"{met.name} raises nothing")


@pytest.mark.parametrize("met", MET, ids=lambda met: met.name)
def test_an_error_that_is_really_raised_has_its_cause_and_its_remedy(met: Met) -> None:
    message = _raised(met)
    found = explained(message, met.during)
    assert found, message
    assert met.cause in found.cause, (message, found)
    assert met.remedy in found.remedy, (message, found)
    assert not re.search(r"\{\w+\}", found.cause + found.remedy), "every value is filled in"


@pytest.mark.parametrize(("message", "cause", "remedy"), TOLD)
def test_an_error_that_can_not_be_raised_here_is_known_by_its_text(message: str, cause: str, remedy: str) -> None:
    found = explained(message)
    assert found
    assert cause in found.cause
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("message", "cause", "remedy"),
    [
        ("TypeError: object of type 'NoneType' has no len()", "NoneType", "a function without a return"),
        ("TypeError: object of type 'generator' has no len()", "generator", "to a list first"),
        ("TypeError: 'NoneType' object is not subscriptable", "is None", "which name on that line is None"),
        ("IndexError: list index out of range", "end of a list", "__len__"),
        ("AttributeError: 'list' object has no attribute 'view'", "a list is asked for view", "batch[0]"),
    ],
)
def test_what_has_no_name_of_the_users_own_is_not_told_to_define_methods(message: str, cause: str, remedy: str) -> None:
    found = explained(message)
    assert found
    assert cause in found.cause
    assert remedy in found.remedy
    assert "Define" not in found.remedy


def test_no_text_has_a_hole_where_a_value_is_missing() -> None:
    for message in ("IndexError: tuple index out of range", "PicklingError: Can't pickle <function <lambda> at 0x7>"):
        found = explained(message)
        assert found
        assert not re.search(r"\(\)|  | ,|and can't", found.cause), found.cause


def test_leaving_weights_as_they_were_initialised_is_no_remedy() -> None:
    found = explained("RuntimeError: Error(s) in loading state_dict for Net: Missing key(s) in state_dict")
    assert found
    assert "or give strict=False" not in found.remedy


def test_an_error_that_nobody_knows_is_left_to_its_own_words() -> None:
    assert explained("WidgetError: the flux capacitor is cold") is None


def test_no_entry_is_hidden_by_an_earlier_one() -> None:
    """Each entry is the one that answers at least one error of these, or is of a kind that none here raises."""
    entries = list(known.everything())
    assert len({entry.pattern + entry.during for entry in entries}) == len(entries)
    assert all(entry.cause and entry.remedy for entry in entries)
