"""The last lines that code prints, kept to explain why it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEPT = 4000
_LINES = 5


class Words:
    """The end of what was printed to standard output and error, in order."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, text: str) -> None:
        self._text = (self._text + text)[-_KEPT:]

    def last(self) -> str:
        """Return the last non-empty lines, separated by slashes."""
        lines = [line.strip() for line in self._text.splitlines() if line.strip(" │╭╮╰╯─\t")]
        return " / ".join(lines[-_LINES:])


class _Heard:
    """A stream that passes on what is written, and records it."""

    def __init__(self, stream: Any, words: Words) -> None:
        self._stream = stream
        self._words = words

    def write(self, text: str) -> int:
        written: int = self._stream.write(text)
        self._words.add(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def listening() -> Iterator[Words]:
    """Yield what Python code prints inside the context."""
    words = Words()
    before = sys.stdout, sys.stderr
    heard: Any = [_Heard(stream, words) for stream in before]
    sys.stdout, sys.stderr = heard
    try:
        yield words
    finally:
        for name, stream, own in zip(("stdout", "stderr"), before, heard):
            if getattr(sys, name) is own:
                setattr(sys, name, stream)
