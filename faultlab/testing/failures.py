"""The causes of a failed test: its own assertion, a check in the user's code, or an accident."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from faultlab.core.alert import safe_text
from faultlab.core.user_code import UserCode
from faultlab.detectors.exceptions import alarm_in, place_of, raises
from faultlab.testing.pytest_internals import PACKAGE

# Packages whose frames may lie between a test's line and the exception that its assertion raises.
_HELPERS = (PACKAGE, "pytest", "unittest", "pytest_timeout", "hypothesis", "contextlib")
_ASSERTING = (*_HELPERS, "torch.testing", "numpy.testing")


@dataclass(frozen=True)
class Suspects:
    """The files of the tests, and the user's code."""

    files: Collection[Path]
    code: UserCode

    def is_test(self, frame: FrameType) -> bool:
        return Path(frame.f_code.co_filename) in self.files


def why(error: BaseException, suspects: Suspects) -> str:
    """Return the kind of detector that made a test fail.

    ``test`` is an assertion, or another deliberate exception, in the test itself, ``module`` one in the user's code or
    of a ready-made guard that it uses, ``framework`` an exception that was not meant as a check.
    """
    # The members of a group, which hypothesis raises for several failures.
    each = [one for one in getattr(error, "exceptions", None) or () if isinstance(one, BaseException)]
    if each:
        return min((why(one, suspects) for one in each), key=("test", "module", "framework").index)
    if isinstance(error, pytest.fail.Exception):
        return "test"
    if alarm_in(error) is not None:
        return "module"
    frames = list(_frames(error))
    if isinstance(error, AssertionError):
        meant = [frame for frame in frames if not _stands_between(frame, _ASSERTING)]
        if meant and suspects.is_test(meant[-1]):
            return "test"
    place = place_of(error.__traceback__)
    if place is None or not raises(place[0].f_code, place[1]):
        return "framework"
    if suspects.is_test(place[0]):
        return "test"
    return "module" if suspects.code.holds(place[0]) else "framework"


def told(error: BaseException) -> str:
    """Return the exception's type and message, shortened."""
    return f"{type(error).__name__}: {safe_text(error, 500)}"


def _frames(error: BaseException) -> Iterator[FrameType]:
    tb = error.__traceback__
    while tb is not None:
        yield tb.tb_frame
        tb = tb.tb_next


def _stands_between(frame: FrameType, packages: tuple[str, ...]) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return any(module == package or module.startswith(f"{package}.") for package in packages)
