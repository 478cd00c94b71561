"""The recorder of a rank's position in the sequence of collectives, in a file that outlives the process."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable
from typing import Any

from faultlab.core import collectives


class Recorder:
    """Counts the collectives that this rank enters; ``step`` returns the training step.

    After a collective that failed, it stays at that one: what comes later only shows that the connections are closed.
    """

    def __init__(self, step: Callable[[], int]) -> None:
        self._step = step
        self._number = 0
        self._entered = "", 0
        self._page: mmap.mmap | None = None
        self._others: list[mmap.mmap] = []
        self._work: Any = None
        self.last = ""

    def write_to(self, path: str) -> None:
        """Write to this file from now on."""
        self._page, self._others = _mapped(path), []
        if self._number:
            self._page[: collectives.SIZE] = collectives.to_bytes(self._number, *self._entered, earlier=True)

    def read_from(self, paths: Iterable[str]) -> None:
        """Compare with the files of the other ranks from now on; they exist."""
        self._others = [_mapped(path) for path in paths]

    def enter(self, name: str) -> None:
        """Record that this rank enters a collective."""
        if self._failed():
            return
        self._work = None
        step = self._step()
        self._number += 1
        self._entered = name, step
        self.last = collectives.Position(0, self._number, name, step).told
        if self._page is not None:
            self._page[: collectives.SIZE] = collectives.to_bytes(self._number, name, step)

    def performs(self, group: str, place: int, name: str) -> bool:
        """Record that this rank performs the collective of a group that has this place in its sequence.

        Returns:
            True if another rank is in another collective at this place, so that neither can end.
        """
        if self._page is None or self._failed():
            return False
        self._page[collectives.SIZE :] = collectives.of_group_to_bytes(group, place, name)
        return self.is_contradicted

    @property
    def is_contradicted(self) -> bool:
        """Whether another rank is in another collective than this one at the same place of a group."""
        own = self._page[collectives.SIZE :] if self._page is not None else b""
        return any(collectives.contradict(own, other[collectives.SIZE :]) for other in self._others)

    def _failed(self) -> bool:
        return self._work is not None and self._work.is_completed() and not self._work.is_success()

    def begun(self, work: Any) -> None:
        """Remember the work of the collective that was entered last, if none has failed."""
        if self._work is None:
            self._work = work


def _mapped(path: str) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, 2 * collectives.SIZE)
        return mmap.mmap(descriptor, 2 * collectives.SIZE)
    finally:
        os.close(descriptor)
