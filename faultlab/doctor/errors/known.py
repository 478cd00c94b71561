"""Known errors, and their lookup by the type and message of an exception."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Known:
    """A known error: ``pattern`` is searched in ``Type: message``, and its named groups fill the other texts.

    ``thread`` is a public thread about the error. ``during`` limits the entry to hooks whose names start with one of
    its words.
    """

    pattern: str
    cause: str
    remedy: str
    thread: str = ""
    during: str = ""


@dataclass(frozen=True)
class Named:
    """A cause and a remedy, with the values of the actual error filled in."""

    cause: str
    remedy: str
    thread: str = ""


def explained(message: str, during: str = "") -> Named | None:
    """Return what an exception means for the author of the training, or None if it is unknown.

    Args:
        message: The exception as ``Type: message``.
        during: The hook that raised it, such as ``validation_step``; empty if unknown.
    """
    for known, pattern in _compiled():
        if known.during and not any(during.startswith(one) for one in known.during.split()):
            continue
        if match := pattern.search(message):
            values = {name: value or "" for name, value in match.groupdict().items()}
            return Named(_filled(known.cause, values), _filled(known.remedy, values), known.thread)
    return None


def everything() -> Iterator[Known]:
    """Yield all entries, specific ones before general ones."""
    from faultlab.doctor.errors import (
        of_autograd,
        of_data,
        of_lightning,
        of_optimizers,
        of_python,
        of_ranks,
        of_tensors,
    )

    for module in (of_ranks, of_lightning, of_optimizers, of_autograd, of_data, of_tensors, of_python):
        yield from module.ERRORS


@cache
def _compiled() -> list[tuple[Known, re.Pattern[str]]]:
    return [(known, re.compile(known.pattern, re.DOTALL)) for known in everything()]


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text
