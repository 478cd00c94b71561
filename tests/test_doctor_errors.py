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


def test_an_error_that_nobody_knows_is_left_to_its_own_words() -> None:
    assert explained("WidgetError: the flux capacitor is cold") is None


def test_no_entry_is_hidden_by_an_earlier_one() -> None:
    """Each entry is the one that answers at least one error of these, or is of a kind that none here raises."""
    entries = list(known.everything())
    assert len({entry.pattern + entry.during for entry in entries}) == len(entries)
    assert all(entry.cause and entry.remedy for entry in entries)
