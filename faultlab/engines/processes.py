"""Process hygiene: kill whole groups, return orphans to their fork server, and bound the output."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def fork() -> int:
    """Forks, and leaves the child the state of Python's random numbers, which CPython would draw anew."""
    state = random.getstate()
    pid = os.fork()
    if pid == 0:
        random.setstate(state)
    return pid


def copy() -> int:
    """Forks a process that is somebody else's: with nothing left to print twice, and no warning of its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Threads of the process are not copied, and none of theirs is needed.
        warnings.simplefilter("ignore", DeprecationWarning)
        return fork()


def print_at_once() -> None:
    """Has what this process prints arrive line by line, though nobody's terminal is at the other end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def show(descriptor: int, data: bytes) -> None:
    """Passes on what another process has printed; a reader who is gone stops nothing."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent dies (Linux; elsewhere the closed pipe tells it)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants' orphans (Linux), so that none can escape by forking twice."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def kill_group(pid: int) -> None:
    """Kills the process group that a victim leads, at once; no signal handler of a victim is trusted with it."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def sweep_orphans(known: set[int]) -> None:
    """Kills and reaps every child of this process that is not among the known ones."""
    for _ in range(20):
        orphans = children_of(os.getpid()) - known
        if not orphans:
            return
        for pid in orphans:
            kill_group(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def children_of(pid: int) -> set[int]:
    """The direct children of a process; empty where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return set()
    return {int(word) for word in text.split()}


class OwnTime:
    """How long a process has gone on, without what it and its children have had to wait for a processor.

    So as much is waited for on a machine that is busy; where the system does not say, time is the clock's.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked = time.monotonic()
        self._spent = 0.0
        self._waits = {pid: _waited(pid) for pid in (pid, *children_of(pid))}

    def spent(self) -> float:
        """Return the seconds so far; to be asked often, since children end."""
        now, before = time.monotonic(), self._waits
        self._waits = {pid: _waited(pid) for pid in (self._pid, *children_of(self._pid))}
        # They wait side by side.
        waited = max(wait - before.get(pid, 0.0) for pid, wait in self._waits.items())
        self._spent += max(0.0, now - self._looked - max(0.0, waited))
        self._looked = now
        return self._spent


def _waited(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def memory() -> dict[str, int]:
    """The machine's memory in KiB, ``MemTotal`` and ``MemAvailable`` among it; empty where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    found = {line.partition(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) > 1}
    return found if {"MemTotal", "MemAvailable"} <= set(found) else {}


def resident() -> int:
    """The memory that this process has, in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


class Output:
    """Keeps the head and the tail of a stream and counts the rest, so that a flood costs no memory and no disk."""

    def __init__(self, keep: int = 16_384) -> None:
        self._keep = keep
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        room = self._keep - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        if (excess := len(self._tail) - self._keep) > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        middle = f"\n... {self._dropped} bytes left out ...\n".encode() if self._dropped else b""
        return bytes(self._head + middle + self._tail).decode(errors="replace")
