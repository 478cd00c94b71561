"""Measure a command with all processes that it starts: CPU and wall seconds, and peak memory.

Run as ``python benchmarks/timed.py COMMAND...``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_EVERY = 0.05
_GIB = 1 << 30


@dataclass(frozen=True)
class Spent:
    """A finished command. ``cpu`` is user and system time of the whole process tree, ``peak`` is in bytes."""

    wall: float
    cpu: float
    load: float
    status: int
    printed: str
    complaints: str
    peak: int = 0


def spend(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None,
          memory: bool = False) -> Spent:  # fmt: skip
    """Run the command. The CPU seconds include all descendants that a process below it has reaped.

    Sampling the memory costs a core about 2 ms each time and delays the process, so don't combine it with timing.
    """
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        load, begun = os.getloadavg()[0], time.monotonic()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=printed, stderr=complaints)
        try:
            with sampled(process.pid) if memory else contextlib.nullcontext(int) as peak:
                _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        said = []
        for file in (printed, complaints):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
    return Spent(wall, usage.ru_utime + usage.ru_stime, load, process.returncode, *said, peak())


@contextlib.contextmanager
def sampled(pid: int) -> Iterator[Callable[[], int]]:
    """Yield a function that returns the peak memory of a process and its descendants together, in bytes.

    Shared memory counts once: proportional set sizes are summed.
    """
    peak = 0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_EVERY):
            peak = max(peak, _footprint(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        thread.join()


def _footprint(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def main(*command: str) -> int:
    """Print the output and the cost of the command, and return its status."""
    spent = spend(command)
    sys.stdout.write(spent.printed)
    sys.stderr.write(spent.complaints)
    print(f"{spent.wall:.2f} s wall, {spent.cpu:.2f} s CPU, status {spent.status}", file=sys.stderr)
    return spent.status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
