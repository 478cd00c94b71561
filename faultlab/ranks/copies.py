"""A function that several ranks call: the first in this process, the others in copies of it that end with the call.

Tests of trainings on several ranks run so: what is attached to this process is attached to its copies.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn

from faultlab.ranks import threads
from faultlab.ranks.gang import Gang

_DEADLINE = 60.0
"""The ranks wait for each other for half of these seconds."""


_CONSEQUENCE = re.compile("Connection (closed|reset) by peer|Broken pipe")


def together(size: int, call: Callable[[int], Any], joins: bool) -> Any:
    """Call a function as each of several ranks, and return what the first rank's call returns.

    Args:
        size: The number of ranks.
        call: Receives the rank.
        joins: Whether the function makes its process group itself.

    Raises:
        RuntimeError: Another rank's call has raised, or its process has ended.
    """
    folder = tempfile.mkdtemp(prefix="faultlab-ranks-")
    sys.stdout.flush()
    # Of an earlier training of this process, which may have ended just now.
    threads.rest()
    others = [_begun(rank, size, call, joins, folder) for rank in range(1, size)]
    try:
        result = _called(0, size, call, joins, folder)
        for rank, pid in enumerate(others, 1):
            _, status = os.waitpid(pid, 0)
            others[rank - 1] = 0
            if exit := os.waitstatus_to_exitcode(status):
                raise RuntimeError(f"rank {rank} {_said(folder, rank) or f'ended with status {exit}'}")
        return result
    except RuntimeError as error:
        own = next((f"rank {rank} {said}" for rank in range(1, size) if (said := _said(folder, rank))), "")
        # What a rank raises because another has raised before says nothing.
        if own and _CONSEQUENCE.search(str(error)):
            raise RuntimeError(own) from error
        raise
    finally:
        for pid in filter(None, others):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)


def _called(rank: int, size: int, call: Callable[[int], Any], joins: bool, folder: str) -> Any:
    gang = Gang(rank, size, lambda: 0, joins)
    gang.meet(os.path.join(folder, "meeting"), _DEADLINE)
    try:
        return call(rank)
    finally:
        gang.part()


def _begun(rank: int, size: int, call: Callable[[int], Any], joins: bool, folder: str) -> int:
    pid = os.fork()
    return pid or _in_copy(rank, size, call, joins, folder)


def _in_copy(rank: int, size: int, call: Callable[[int], Any], joins: bool, folder: str) -> NoReturn:
    status = 1
    try:
        _called(rank, size, call, joins, folder)
        status = 0
    except BaseException as error:
        descriptor = os.open(_file(folder, rank), os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, f"raised {type(error).__name__}: {error}".encode())
    finally:
        # The rest of the program is the first rank's.
        os._exit(status)


def _file(folder: str, rank: int) -> str:
    return os.path.join(folder, f"raised-{rank}")


def _said(folder: str, rank: int) -> str:
    try:
        with open(_file(folder, rank), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
