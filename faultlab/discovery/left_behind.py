"""Files that the user's code creates in the user's folders while it is tried, and their removal."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from faultlab.sandbox.overlay import Overlay


class LeftBehind:
    """Records, from this process and its copies, the paths that an overlay lets through."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        Overlay.told = self._note

    def _note(self, path: str) -> None:
        os.write(self._descriptor, os.fsencode(path) + b"\0")

    def remove(self) -> None:
        """Remove all recorded paths that still exist."""
        Overlay.told = None
        for noted in reversed(self._log.read_bytes().split(b"\0")):
            path = os.fsdecode(noted)
            with contextlib.suppress(OSError):
                if path and os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                elif path:
                    os.unlink(path)
