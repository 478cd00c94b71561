"""A dry run of a block of code, in a copy of the process, to learn what the block builds and trains.

The copy enters the block first, reports at the block's end, and exits; only then does the process itself enter the
block. So the block writes its files twice.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from faultlab.core.messages import Lines, encode
from faultlab.engines import processes
from faultlab.errors import FaultlabError, UsageError
from faultlab.testing.failures import told

_PATIENCE = 600.0
_CHUNK = 1 << 16


class RehearsalError(FaultlabError):
    """The block fails or hangs without any fault, so that it can't show what happens with one."""


def passed(learnt: Mapping[str, Any]) -> None:
    """Raise an error if the block failed in its dry run.

    Args:
        learnt: What the dry run reported.

    Raises:
        RehearsalError: The block failed.
    """
    if learnt["error"]:
        raise RehearsalError(f"the block fails without any fault: {learnt['error']}")


class Rehearsal:
    """A dry run: ``begin`` returns the copy's report, or None in the copy itself, which must call ``end`` at last."""

    def __init__(self) -> None:
        self._report = 0

    def begin(self) -> dict[str, Any] | None:
        """Fork the copy, and return its report.

        Returns:
            The report, with ``error``, the exception that ended the block or an empty string, and ``skipped``, the
            reason why it was skipped. None in the copy.

        Raises:
            UsageError: The process can't be copied.
            RehearsalError: The copy ends without a report.
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
        """Report how the block ended, and exit; called in the copy."""
        try:
            message = {**tell(), "error": "" if error is None else told(error), "skipped": _skipped(error)}
            data = encode(message)
            while data:
                data = data[os.write(self._report, data) :]
        finally:
            # Without exit handlers: they belong to the original process.
            os._exit(0)


def _check_copiable() -> None:
    if not hasattr(os, "fork"):
        raise UsageError("this system can't fork, which injecting into a block requires: use Linux or macOS")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise UsageError("a process that uses a GPU can't be copied: inject before the first use of the GPU")


def _be_quiet() -> None:
    os.setsid()
    processes.die_with_parent()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    # A plugin that captures output may have put files in their place, which the original process reads.
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if (torch := sys.modules.get("torch")) is not None:
        # Threads were not copied: an operation that needs more than one would hang.
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
            raise RehearsalError("without any fault, the process exits inside the block")
        for message in lines.feed(data):
            return message
    raise RehearsalError(f"without any fault, the block is still running after {_PATIENCE:.0f} s")
