"""Processes that the system killed for lack of memory, and the peak memory of the largest child."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


def peak() -> str:
    """Return the peak memory of the largest child, in words; an empty string up to 1 GiB."""
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return f"; its largest process used {kilobytes / 2**20:.1f} GiB" if kilobytes > 2**20 else ""


def count() -> int:
    """Return how many processes the system, or this process's control group, has killed for memory (Linux)."""
    files = [("/proc/vmstat", "oom_kill"), *((file, "oom_kill") for file in _group_files())]
    return sum(_read(file, key) for file, key in files)


def _group_files() -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield f"/sys/fs/cgroup{path}/memory.events"
            elif "memory" in controllers.split(","):
                yield f"/sys/fs/cgroup/memory{path}/memory.oom_control"


def _read(file: str, key: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(file).read_text().splitlines():
            words = line.split()
            if len(words) == 2 and words[0] == key:
                return int(words[1])
    return 0
