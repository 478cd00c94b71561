"""A sign of life for output that is not a terminal: one line every some seconds, with the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

INTERVAL = 15.0
"""Seconds between two lines."""


class Heartbeat:
    """Counts what is done, and prints a line at intervals until it is stopped."""

    def __init__(self, write: Callable[[str], None], interval: float | None = None) -> None:
        self._write = write
        self._interval = INTERVAL if interval is None else interval
        self._ended: threading.Event | None = None
        self._name = self._what = ""
        self._done = self._total = 0
        self._begun = 0.0

    def begin(self, name: str, what: str, total: int = 0) -> None:
        """Count from zero; without a total, only the seconds are printed."""
        self.stop()
        self._name, self._what, self._done, self._total = name, what, 0, total
        self._begun = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._beat, args=(self._ended,), daemon=True).start()

    def advance(self) -> None:
        """Count one more."""
        self._done += 1

    def stop(self) -> None:
        """Print no more lines."""
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    def now(self) -> str:
        """Return the line at this moment."""
        return self.line(time.monotonic() - self._begun)

    def line(self, seconds: float) -> str:
        """Return the line after so many seconds."""
        if not self._total:
            return f"{self._name}: {self._what}, {seconds:.0f} s"
        text = f"{self._name}: {self._done} of {self._total} {self._what}, {seconds:.0f} s"
        if not self._done:
            return text
        return f"{text}, about {duration(seconds / self._done * (self._total - self._done))} left"

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self._interval):
            self._write(self.now())


def duration(seconds: float) -> str:
    """Return a duration in words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
