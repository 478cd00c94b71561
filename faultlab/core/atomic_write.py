"""Atomic file writes: readers never see half a file, and a failed write keeps the old one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def write(file: Path, text: str) -> None:
    """Write the text as UTF-8 without changing its line ends; create the folder. Raise OSError if that fails."""
    with writing(file) as lines:
        lines.write(text)


@contextmanager
def writing(file: Path) -> Iterator[IO[str]]:
    """Yield a file to write text to piece by piece; it replaces the old file after the last piece.

    Lone surrogates are written as escapes, as JSON writes them. File permissions and symbolic links are kept. Raise
    OSError if the file can't be written.
    """
    file = Path(os.path.realpath(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    # One for each process: two processes that write at once must not replace each other's unfinished file.
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as lines:
            yield lines
        with suppress(FileNotFoundError):
            shutil.copymode(file, temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
