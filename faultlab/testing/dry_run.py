"""A block of code run clean in a copy of the process, to learn what it builds and trains.

A copy of the process enters the block, tells what it saw at the block's end, and is gone; only then does the process
itself enter the block. Whatever the block writes to disk it writes twice.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from faultlab.core.messages import Lines, encode
from faultlab.engines import processes
from faultlab.errors import FaultlabError, UsageError
from faultlab.testing.failures import told

_PATIENCE = 600.0
_CHUNK = 1 << 16


class RehearsalError(FaultlabError):
    """The block fails or never ends without any fault, so that nothing can be said of it with one."""


class Rehearsal:
    """``begin`` returns what the copy told, or None in the copy itself, which has to call ``end`` when it is done."""

    def __init__(self) -> None:
        self._report = 0

    def begin(self) -> dict[str, Any] | None:
        """Raises UsageError where the process can't be copied, RehearsalError where the copy tells nothing.

        ``error`` is what ended the block, an empty string where it came to its end, ``skipped`` why it was skipped.
        """
        _check_copiable()
        reading, writing = os.pipe()
        pid = processes.copy()
        if not pid:
            os.close(reading)
            self._report = writing
            _be_quiet()
            return None
        os.close(writing)
        try:
            return _heard(reading)
        finally:
            os.close(reading)
            processes.kill_group(pid)
            os.waitpid(pid, 0)

    def end(self, tell: Callable[[], dict[str, Any]], error: BaseException | None) -> NoReturn:
        """In the copy: says how the block went, and ends."""
        try:
            message = {**tell(), "error": "" if error is None else told(error), "skipped": _skipped(error)}
            data = encode(message)
            while data:
                data = data[os.write(self._report, data) :]
        finally:
            # No exit handlers: they belong to the process this one is a copy of.
            os._exit(0)


def _check_copiable() -> None:
    if not hasattr(os, "fork"):
        raise UsageError("this system can't copy a process; injecting into a block takes one that can (Linux, macOS)")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise UsageError("a process that uses a GPU can't be copied; inject before the first use of the GPU")


def _be_quiet() -> None:
    os.setsid()
    processes.die_with_parent()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    # What captures output may have put files in their place, which the process would read from.
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if (torch := sys.modules.get("torch")) is not None:
        # The threads of the process were not copied: what asks for more than one waits for ever.
        torch.set_num_threads(1)


def _skipped(error: BaseException | None) -> str:
    pytest = sys.modules.get("pytest")
    skipped = pytest is not None and isinstance(error, pytest.skip.Exception)
    return str(error) or "skipped" if skipped else ""


def _heard(reading: int) -> dict[str, Any]:
    lines, until = Lines(), time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if not select.select([reading], [], [], 1.0)[0]:
            continue
        data = os.read(reading, _CHUNK)
        if not data:
            raise RehearsalError("without any fault, the process ends inside the block")
        for message in lines.feed(data):
            return message
    raise RehearsalError(f"without any fault, the block goes on after {_PATIENCE:.0f} s")
