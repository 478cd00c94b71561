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
    """Fork, and keep the state of Python's random numbers in the child, which CPython would draw again."""
    state = random.getstate()
    pid = os.fork()
    if pid == 0:
        random.setstate(state)
    return pid


def copy() -> int:
    """Fork a process of user code: flush, so that nothing is printed twice, and suppress the warning of threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # The process's threads are not copied, and none of them is needed.
        warnings.simplefilter("ignore", DeprecationWarning)
        return fork()


def print_at_once() -> None:
    """Flush this process's output after every line, although it is not a terminal."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def show(descriptor: int, data: bytes) -> None:
    """Forward the output of another process; ignore a reader that is gone."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies (Linux; elsewhere it notes the closed pipe)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans (Linux), so that none escapes by forking twice."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def kill_group(pid: int) -> None:
    """Kill the process group of a victim at once, without relying on its signal handlers."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def sweep_orphans(known: set[int]) -> None:
    """Kill and reap every child of this process that is not known."""
    for _ in range(20):
        orphans = children_of(os.getpid()) - known
        if not orphans:
            return
        for pid in orphans:
            kill_group(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def children_of(pid: int) -> set[int]:
    """Return the direct children of a process; empty if the system does not list them."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return set()
    return {int(word) for word in text.split()}


class OwnTime:
    """The run time of a process, without the time that it and its children waited for a processor.

    The same amount of work is allowed on a busy machine; where the system does not report waiting, it is wall-clock
    time.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked = time.monotonic()
        self._spent = 0.0
        self._waits = {pid: _waited(pid) for pid in (pid, *children_of(pid))}

    def spent(self) -> float:
        """Return the seconds so far; to be called often, because children end."""
        now, before = time.monotonic(), self._waits
        self._waits = {pid: _waited(pid) for pid in (self._pid, *children_of(self._pid))}
        # They wait in parallel.
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
    """Return the machine's memory in KiB, including ``MemTotal`` and ``MemAvailable``; empty if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    found = {line.partition(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) > 1}
    return found if {"MemTotal", "MemAvailable"} <= set(found) else {}


def resident() -> int:
    """Return the resident memory of this process, in MiB (Linux)."""
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
