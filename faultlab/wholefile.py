"""Files that others read, written whole or not at all: nobody sees half of one, and a failed write leaves the old."""

from __future__ import annotations

import os
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Writes the text as UTF-8 with its lines as they are, and makes the file's folder. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Of its own to each process: two that write at once must not move each other's half.
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
