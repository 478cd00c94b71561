"""Files that others read, written whole or not at all: nobody sees half of one, and a failed write leaves the old."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def write(file: Path, text: str) -> None:
    """Writes the text as UTF-8 with its lines as they are, and makes the file's folder. Raises OSError."""
    with writing(file) as lines:
        lines.write(text)


@contextmanager
def writing(file: Path) -> Iterator[IO[str]]:
    """Gives a file to write the text to piece by piece, which takes its place once the last piece is written.

    Half a character is written as its escape, as JSON has it. Who may read the file, and whether it is reached by a
    link, stays as it was. Raises OSError.
    """
    file = Path(os.path.realpath(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    # Of its own to each process: two that write at once must not move each other's half.
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as lines:
            yield lines
        with suppress(FileNotFoundError):
            shutil.copymode(file, temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
