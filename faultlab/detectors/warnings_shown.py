"""The warnings that a user would see, from Python and from the logs of libraries: each once, with its first step."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from faultlab.core import packages
from faultlab.core.alert import causes_of
from faultlab.injection.clock import Clock

_VARYING = re.compile(r"0x[0-9a-f]+|[-+]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Warnings:
    """A collection of the warnings that are shown; a warning that the user's filters hide detects nothing.

    ``root`` is the folder that the run writes to. It differs between runs, so the texts contain ``<run>`` instead.
    """

    def __init__(self, clock: Clock, root: str = "") -> None:
        self.seen: dict[str, tuple[int, str]] = {}
        self.causes: dict[str, str] = {}
        self.root = root
        self._clock = clock
        self._hidden = False

    def note(self, text: str, causes: str = "") -> None:
        """Record a warning at its first step, unless warnings are hidden."""
        if self._hidden:
            return
        text = self.told(text)
        if len(self.seen) < 200:
            key = normalised(text)
            self.seen.setdefault(key, (self._clock.step, text[:500]))
            self.causes.setdefault(key, causes)

    def told(self, text: str) -> str:
        """Return the text without the parts that differ between runs."""
        return text.replace(self.root, "<run>") if self.root else text

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide and ignore warnings inside the context; the same warning is still shown when it occurs later."""
        # Not with `catch_warnings`, whose change of the filters makes Python show every past warning again.
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
        """Collect warnings inside the context, and still show them."""
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
            self.note(f"{category.__name__}: {message}", causes_of(message))
            shown(message, category, *args, **kwargs)

        call_handlers = logging.Logger.callHandlers

        def calling(logger: logging.Logger, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING and _reaches_user(logger):
                # A victim's log call with the wrong arguments is not ours to report.
                with suppress(Exception):
                    self.note(f"{record.name}: {record.getMessage()}")
            call_handlers(logger, record)

        warnings.showwarning = show
        # A handler of our own would make `logging.basicConfig` do nothing, and so the victim silent.
        logging.Logger.callHandlers = calling  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            if warnings.showwarning is show:
                warnings.showwarning = shown
            if logging.Logger.callHandlers is calling:
                logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]


def _reaches_user(logger: logging.Logger | None) -> bool:
    """Return whether a logger's records propagate to the root logger or to that of a framework."""
    while logger is not None:
        if isinstance(logger, logging.RootLogger) or logger.name in packages.LOGGERS:
            return True
        logger = logger.parent if logger.propagate else None
    return False


def normalised(text: str) -> str:
    """Return the text without numbers and addresses, so that a warning is the same at every step."""
    return _VARYING.sub("#", text)
