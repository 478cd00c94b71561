"""The suggestion for a file name that matches no file."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path


def did_you_mean(path: Path, *patterns: str) -> str:
    """Return a question that suggests the closest file, or an empty string.

    Args:
        path: The name that was given.
        patterns: Glob patterns of the files to suggest, in the folder of the name and in the working folder.
    """
    known = [str(found) for folder in {path.parent, Path()} for pattern in patterns for found in folder.glob(pattern)]
    close = get_close_matches(str(path), known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""
