"""The warnings that a user would see: Python's and those that libraries log, each once, with its first step."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core import packages
from faultlab.core.alert import causes_of
from faultlab.injection.clock import Clock

_LOGGERS = ("", *packages.LOGGERS)
_VARYING = re.compile(r"0x[0-9a-f]+|[-+]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Warnings:
    """Collects what is shown. Filters are left alone: what a user's filters hide, nobody detects.

    ``root`` is the folder that the run writes to. Each run has another, so it stands as ``<run>`` in the texts.
    """

    def __init__(self, clock: Clock, root: str = "") -> None:
        self.seen: dict[str, tuple[int, str]] = {}
        self.causes: dict[str, str] = {}
        self.root = root
        self._clock = clock
        self._hidden = False

    def note(self, text: str, causes: str = "") -> None:
        if self._hidden:
            return
        text = self.told(text)
        if len(self.seen) < 200:
            key = normalised(text)
            self.seen.setdefault(key, (self._clock.step, text[:500]))
            self.causes.setdefault(key, causes)

    def told(self, text: str) -> str:
        """The text as it is the same for every run."""
        return text.replace(self.root, "<run>") if self.root else text

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """What is warned of inside was not: nobody is shown it, and who warns of the same later is not left out."""
        # Put in by hand: what `catch_warnings` does to the filters has every warning shown anew that was shown once.
        filters: Any = warnings.filters
        ignore = ("ignore", None, Warning, None, 0)
        filters.insert(0, ignore)
        before, self._hidden = self._hidden, True
        try:
            yield
        finally:
            self._hidden = before
            filters = warnings.filters
            if ignore in filters:
                filters.remove(ignore)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Collects inside the context; what was shown before is still shown."""
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
            self.note(f"{category.__name__}: {message}", causes_of(message))
            shown(message, category, *args, **kwargs)

        handler = _Handler(self)
        warnings.showwarning = show
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(handler)
        try:
            yield
        finally:
            if warnings.showwarning is show:
                warnings.showwarning = shown
            for name in _LOGGERS:
                logging.getLogger(name).removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, warnings: Warnings) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._warnings.note(f"{record.name}: {record.getMessage()}")
        except Exception:  # a victim's log call with the wrong arguments is not ours to report
            return


def normalised(text: str) -> str:
    """The text with numbers and addresses blanked, so that the same warning at another step is the same."""
    return _VARYING.sub("#", text)
