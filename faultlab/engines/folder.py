"""The temporary folder of an engine, which outlives no campaign for long, even if its driver is killed.

The driver holds a lock on a file in the folder. If the driver is killed, its warm process removes the folder; if that
is killed too, the next engine does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "faultlab-"
_LOCK = "in-use"


class Folder:
    """A temporary folder that belongs to this process. Folders of processes that were killed are removed first.

    Args:
        parent: Where to make it; None for the system's folder of temporary files.
    """

    def __init__(self, parent: str | None = None) -> None:
        _remove_abandoned(Path(parent or tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
        self.name = self._folder.name
        unlocked = os.path.join(self.name, "new")
        self._lock = os.open(unlocked, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        if _lock(self._lock):
            # Renamed once it is locked, so that no other engine finds it unlocked.
            os.rename(unlocked, os.path.join(self.name, _LOCK))

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        os.close(self._lock)
        self._folder.cleanup()


def _remove_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        # Another user's can't be opened, and another engine may remove it at the same time.
        with contextlib.suppress(OSError), lock.open("r+") as file:
            if _lock(file.fileno()):
                shutil.rmtree(lock.parent, ignore_errors=True)


def _lock(descriptor: int) -> bool:
    """Lock a file for as long as this process lives; False if another process holds it, or files can't be locked."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
