"""Why a test failed: its own assertion, a check in the user's code, or an accident."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from faultlab.core.alert import safe_text
from faultlab.core.user_code import UserCode
from faultlab.detectors.exceptions import place_of, raises
from faultlab.testing.pytest_internals import PACKAGE

# Frames that stand between a test's line and the exception that it asked for.
_HELPERS = (PACKAGE, "pytest", "unittest", "pytest_timeout", "hypothesis", "contextlib")
_ASSERTING = (*_HELPERS, "torch.testing", "numpy.testing")


@dataclass(frozen=True)
class Suspects:
    """Which files are the tests, and which code is the user's."""

    files: Collection[Path]
    code: UserCode

    def is_test(self, frame: FrameType) -> bool:
        return Path(frame.f_code.co_filename) in self.files


def why(error: BaseException, suspects: Suspects) -> str:
    """The kind of detector that a failed test stands for.

    ``test`` is an assertion (or another exception that was raised on purpose) of the test's own, ``module`` one in the
    user's code, ``framework`` an exception that nobody meant as a check.
    """
    # Those that a group is made of, as hypothesis raises them for what fails now and then.
    each = [one for one in getattr(error, "exceptions", None) or () if isinstance(one, BaseException)]
    if each:
        return min((why(one, suspects) for one in each), key=("test", "module", "framework").index)
    if isinstance(error, pytest.fail.Exception):
        return "test"
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
    """The exception in one line or a few."""
    return f"{type(error).__name__}: {safe_text(error, 500)}"


def _frames(error: BaseException) -> Iterator[FrameType]:
    tb = error.__traceback__
    while tb is not None:
        yield tb.tb_frame
        tb = tb.tb_next


def _stands_between(frame: FrameType, packages: tuple[str, ...]) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return any(module == package or module.startswith(f"{package}.") for package in packages)
