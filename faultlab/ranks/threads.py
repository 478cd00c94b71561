"""The threads of this process's groups, which a copy of the process does not have (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

_TASKS = "/proc/self/task"
_PATIENCE = 5.0
_NAP = 0.001


def of_gloo() -> int:
    """Return how many threads of this process belong to a process group: a fork may lose them."""
    return sum(1 for _ in _states())


def rest(patience: float = _PATIENCE) -> bool:
    """Wait until no thread of a process group computes; return False if one still does after these seconds.

    A thread whose collective has completed still retires it from torch's record, under a lock of the whole process. In
    a copy that is made meanwhile nobody releases that lock, and the copy waits for it when it connects again.
    """
    end = time.monotonic() + patience
    while any(state != "S" for state in _states()):
        if time.monotonic() >= end:
            return False
        time.sleep(_NAP)
    return True


def _states() -> Iterator[str]:
    """Yield the kernel's letter for what each of the threads does: S for waiting."""
    for thread in os.listdir(_TASKS) if os.path.isdir(_TASKS) else ():
        try:
            with open(f"{_TASKS}/{thread}/stat") as file:
                name, _, rest_of_line = file.read().rpartition(")")
        except OSError:
            continue
        if "gloo" in name:
            yield rest_of_line.split()[0]
