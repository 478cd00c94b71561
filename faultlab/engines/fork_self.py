"""A fork engine for a process that is warm already: victims are forks of the process that orders them."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from faultlab.core.exit_status import in_words
from faultlab.core.orders import Order
from faultlab.engines import processes
from faultlab.engines.fork import ForkEngine
from faultlab.engines.fork_server import ForkServer
from faultlab.errors import TargetError

Send = Callable[[dict[str, Any]], None]


class CollectedEngine(ForkEngine):
    """See `faultlab.engines.Engine`. ``prepare`` is called once, in the copy that victims are forked from."""

    patience = 600.0

    def __init__(self, jobs: int, prepare: Callable[[], None], carry_out: Callable[[Order, Send], None]) -> None:
        super().__init__(jobs)
        self._prepare = prepare
        self._carry_out = carry_out
        self._children: list[int] = []

    def close(self) -> None:
        super().close()
        for pid in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _open(self) -> None:
        pid = processes.copy()
        if not pid:
            self._become_fork_server()
        self._children.append(pid)
        asked = time.monotonic()
        while self._link("construct") is None:
            self._listen()
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.remove(pid)
                how = in_words(os.waitstatus_to_exitcode(status))
                raise TargetError((), f"the copy of this process {how}")
            if time.monotonic() - asked > self.patience:
                processes.kill_group(pid)
                raise TargetError((), f"making the copy of this process ready takes more than {self.patience:.0f} s")

    def _become_fork_server(self) -> NoReturn:
        try:
            os.setsid()
            processes.die_with_parent()
            for link in self._links:
                link.socket.close()
            self._listener.close()
            self._selector.close()
            self._serve()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(70)
        # No exit handlers: they belong to the process that this one is a copy of.
        os._exit(0)

    def _serve(self) -> None:
        """Return in each victim once its order is executed."""
        self._prepare()
        order, channel = ForkServer(self._address, {"fork_server": "construct", "scenario": self._scenario[0]}).serve()
        self._carry_out(order, channel.send)
        sys.stdout.flush()
