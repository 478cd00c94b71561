"""SIGTERM as an interruption: a CI service that ends a job, or ``timeout``, must not cost the results so far."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Termination:
    """A context in which SIGTERM raises KeyboardInterrupt, as SIGINT does."""

    def __init__(self) -> None:
        self._before: Any = None
        self._active = False

    def __enter__(self) -> Termination:
        # Only the main thread may set handlers.
        if threading.current_thread() is threading.main_thread():
            self._before, self._active = signal.signal(signal.SIGTERM, _interrupt), True
        return self

    def __exit__(self, *error: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Set the handler from before; copies of the process call it too, since tests may look at their handlers."""
        if self._active:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._before is None else self._before)
            self._active = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
