"""A copy of a keeper that imports more than the keeper has, to replace it if the copy may then be copied itself."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from faultlab.engines import processes

_DEADLINE = 300.0


class Trial:
    """Forks on construction; ``pid`` is 0 in the copy. If importing hangs, crashes or ends it, nothing is lost."""

    def __init__(self, learnt: dict[str, Any]) -> None:
        self.learnt = learnt
        self._started = time.monotonic()
        keeper, copy = socket.socketpair()
        self.pid = processes.fork()
        if self.pid:
            copy.close()
            keeper.setblocking(False)
            self._other = keeper
        else:
            keeper.close()
            os.setsid()
            self._other = copy

    def take_over(self) -> None:
        """In the copy: wait until the keeper has left the commands to it."""
        self._other.sendall(b"+")
        self._other.recv(1)
        self._other.close()

    def fileno(self) -> int:
        """Return the descriptor that is readable once there is a verdict."""
        return self._other.fileno()

    def verdict(self) -> bool | None:
        """Return True if the copy is ready to replace the keeper; None while it is still importing."""
        if time.monotonic() - self._started > _DEADLINE:
            self.end()
        try:
            return bool(self._other.recv(1))
        except BlockingIOError:
            return None
        except OSError:
            return False

    def end(self) -> None:
        """Kill the copy."""
        processes.kill_group(self.pid)

    def let_go(self) -> None:
        """Leave the commands to the copy, if it is ready; in a command's process, close the inherited end."""
        self._other.close()
