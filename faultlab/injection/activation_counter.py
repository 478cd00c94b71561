"""Activation counts of a fault over the victim's process and the loader workers that are copies of it."""

from __future__ import annotations

import mmap
import os
import struct

_CLOCK = struct.Struct("<q")
_ENTRY = struct.Struct("<qqq")
_ENTRIES = 64
_TEXT = 2048
_FIRST_ENTRY = _CLOCK.size
_TEXT_AT = _FIRST_ENTRY + _ENTRIES * _ENTRY.size


class Tally:
    """A page of memory that forked workers share with the process that armed the fault.

    Each process counts in its own entry, because a killed worker would never release a lock. ``step`` is the training
    step of the victim's main process: the clock of a worker's copy does not advance.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _TEXT_AT + _TEXT)

    @property
    def step(self) -> int:
        return int(_CLOCK.unpack_from(self._page, 0)[0])

    @step.setter
    def step(self, step: int) -> None:
        _CLOCK.pack_into(self._page, 0, step)

    @property
    def activations(self) -> int:
        return sum(count for _, count, _ in self._entries())

    @property
    def first_step(self) -> int | None:
        return min((first for _, count, first in self._entries() if count), default=None)

    @property
    def broken(self) -> str:
        """The injector's error, in whichever process it failed; empty if it did not."""
        return self._page[_TEXT_AT:].rstrip(b"\0").decode(errors="replace")

    @broken.setter
    def broken(self, message: str) -> None:
        self._page[_TEXT_AT:] = message.encode()[:_TEXT].ljust(_TEXT, b"\0")

    def acted(self, step: int) -> None:
        offset, count, first = self._own_entry()
        _ENTRY.pack_into(self._page, offset, os.getpid(), count + 1, first if count else step)

    def take_back(self, number: int) -> None:
        """Take back the latest activations of this process."""
        offset, count, first = self._own_entry()
        _ENTRY.pack_into(self._page, offset, os.getpid(), max(0, count - number), first)

    def _entries(self) -> list[tuple[int, int, int]]:
        return list(_ENTRY.iter_unpack(self._page[_FIRST_ENTRY:_TEXT_AT]))

    def _own_entry(self) -> tuple[int, int, int]:
        pid = os.getpid()
        for probe in range(_ENTRIES):
            offset = _FIRST_ENTRY + (pid + probe) % _ENTRIES * _ENTRY.size
            owner, count, first = _ENTRY.unpack_from(self._page, offset)
            if owner in (0, pid):
                break
        # With more processes than entries they share entries, at the risk of a lost count.
        return offset, count, first
