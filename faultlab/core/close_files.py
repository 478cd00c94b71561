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


def misspelled(target: str, *patterns: str) -> str:
    """Return the question of `did_you_mean` for what looks like a file's name with a wrong suffix, or an empty string.

    Args:
        target: What was given, which may be the dotted path of a class.
        patterns: Glob patterns of the files to suggest.
    """
    path = Path(target)
    known = {found.name for pattern in patterns for found in path.parent.glob(pattern)}
    close = get_close_matches(path.name, known, n=1, cutoff=0.8)
    # The last part of a class's path is not like a suffix.
    if path.exists() or not close or not get_close_matches(path.suffix, [Path(close[0]).suffix], cutoff=0.6):
        return ""
    return f"Did you mean {str(path.parent / close[0])!r}?"
