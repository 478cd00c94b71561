"""The outcomes of a campaign on disk: one line for each verdict, looked up by fault and never held in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from faultlab.core import atomic_write


class Journal:
    """Lines of JSON in a file; the last line of a fault counts. ``faults`` has the offset of that line."""

    def __init__(self, file: Path) -> None:
        self.faults: dict[str, int] = {}
        self._file = file
        self._lines: IO[bytes] | None = None
        self._end = 0

    def begin(self, kept: Collection[str]) -> None:
        """Open the file, keeping only the lines of these faults unchanged."""
        # Rewritten, not appended to: a line that a kill cut short would swallow the next one.
        places: dict[str, int] = {}
        with atomic_write.writing(self._file) as lines:
            self._end = 0
            for fault in kept:
                places[fault] = self._end
                line = self._read(self.faults[fault]).rstrip(b"\n") + b"\n"
                lines.write(line.decode("utf-8"))
                self._end += len(line)
        self.close()
        self.faults = places
        self._lines = self._file.open("a+b")

    def add(self, fault: str, line: str) -> None:
        """Write a line to disk; once this returns, it survives the end of this process."""
        assert self._lines is not None
        data = line.encode("utf-8") + b"\n"
        self._lines.write(data)
        self._lines.flush()
        os.fsync(self._lines.fileno())
        self.faults[fault] = self._end
        self._end += len(data)

    def line(self, fault: str) -> dict[str, Any]:
        """Return the last line of a fault; an empty dict if it has none."""
        if fault not in self.faults:
            return {}
        found: dict[str, Any] = json.loads(self._read(self.faults[fault]))
        return found

    def left_over(self) -> Iterator[tuple[int, str]]:
        """Yield the lines of an earlier campaign with their offsets, unchecked; nothing if the file does not exist."""
        place = 0
        try:
            with self._file.open("rb") as lines:
                for line in lines:
                    yield place, line.decode("utf-8", "replace")
                    place += len(line)
        except OSError:
            return

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _read(self, place: int) -> bytes:
        if self._lines is None:
            self._lines = self._file.open("rb")
        self._lines.seek(place)
        return self._lines.readline()
