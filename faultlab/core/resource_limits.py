"""Limits on a process's disk space and memory, which POSIX systems can really lower."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

_SPARE = 1 << 26


def _resource() -> ModuleType | None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return None
    return resource


def exist() -> bool:
    """Return True if this system supports limits on a process."""
    return _resource() is not None


def remember() -> Callable[[], None]:
    """Return a function that restores the current limits."""
    resource = _resource()
    if resource is None:
        return lambda: None
    kinds = (resource.RLIMIT_FSIZE, resource.RLIMIT_AS)
    before = {kind: resource.getrlimit(kind) for kind in kinds}

    def restore() -> None:
        for kind, limit in before.items():
            resource.setrlimit(kind, limit)

    return restore


def fill_disk() -> None:
    """Let no file of this process grow any more: writing raises OSError. Pipes are not affected."""
    resource = _resource()
    assert resource is not None
    # The signal would kill the process, which a full disk does not. Python ignores it unless user code changed that;
    # and only the main thread can.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fill_memory() -> None:
    """Leave this process almost no more memory to allocate."""
    resource = _resource()
    assert resource is not None
    used = 0
    with contextlib.suppress(OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    room = used + _SPARE
    if used and (hard == resource.RLIM_INFINITY or room < hard):
        resource.setrlimit(resource.RLIMIT_AS, (room, hard))


def no_core() -> None:
    """Prevent a core file if this process crashes."""
    resource = _resource()
    assert resource is not None
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Restore the limits when the context ends."""
    restore = remember()
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def whole_files() -> Iterator[None]:
    """Let files grow inside the context, even if the process's disk is full."""
    with remembered():
        if (resource := _resource()) is not None:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        yield


def private_memory() -> int:
    """Return the peak memory in KiB that this process shares with no other (Linux; 0 elsewhere)."""
    try:
        mapped = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    private = sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+)", mapped, re.MULTILINE))
    peak, now = (int(re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0]) for name in ("VmHWM", "VmRSS"))
    return private + max(0, peak - now)
