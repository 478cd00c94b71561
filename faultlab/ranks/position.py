"""The recorder of a rank's position in the sequence of collectives, in a file that outlives the process."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

from faultlab.core import collectives


class Recorder:
    """Counts the collectives that this rank enters; ``step`` returns the training step."""

    def __init__(self, step: Callable[[], int]) -> None:
        self._step = step
        self._number = 0
        self._page: mmap.mmap | None = None
        self.last = ""

    def write_to(self, path: str) -> None:
        """Write to this file from now on."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, collectives.SIZE)
            self._page = mmap.mmap(descriptor, collectives.SIZE)
        finally:
            os.close(descriptor)

    def enter(self, name: str) -> None:
        """Record that this rank enters a collective."""
        step = self._step()
        self._number += 1
        self.last = f"{name} {self._number} of step {step}"
        if self._page is not None:
            self._page[:] = collectives.to_bytes(self._number, name, step)
