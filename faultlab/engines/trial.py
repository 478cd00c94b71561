"""A copy of a keeper that imports more than the keeper has, to take its place if it may be copied itself then."""

from __future__ import annotations

import os
import time
from typing import Any

from faultlab.engines import processes

_DEADLINE = 300.0


class Trial:
    """Forks by being constructed; ``pid`` is 0 in the copy. Importing may hang, crash or end it: nothing is lost."""

    def __init__(self, learnt: dict[str, Any]) -> None:
        self.learnt = learnt
        self._started = time.monotonic()
        told, tell = os.pipe()
        self.pid = processes.fork()
        if self.pid:
            os.close(tell)
            os.set_blocking(told, False)
            self._pipe = told
        else:
            os.close(told)
            os.setsid()
            self._pipe = tell

    def take_over(self) -> None:
        """In the copy: from now on it serves commands, too."""
        os.write(self._pipe, b"+")
        os.close(self._pipe)

    def fileno(self) -> int:
        """What can be read when there is a verdict."""
        return self._pipe

    def verdict(self) -> bool | None:
        """Whether the copy has taken over; None while it is still importing."""
        if time.monotonic() - self._started > _DEADLINE:
            self.end()
        try:
            return bool(os.read(self._pipe, 1))
        except BlockingIOError:
            return None

    def end(self) -> None:
        """Kills the copy, unless it has taken over."""
        processes.kill_group(self.pid)

    def let_go(self) -> None:
        """Closes what this process has of it."""
        os.close(self._pipe)
