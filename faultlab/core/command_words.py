"""The words of a command that judges a training, with placeholders for the files that it gets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

PLACEHOLDERS = ("log", "checkpoint")
"""The names that a command may have in braces: the log of the training, and its final weights."""
_BRACES = re.compile(r"\{([A-Za-z_]+)\}")


def split(command: str) -> list[str]:
    """Return the words of a command.

    Raises:
        ValueError: It has no words, an open quotation mark, or an unknown placeholder.
    """
    words = shlex.split(command)
    if not words:
        raise ValueError("it is empty")
    for name in _BRACES.findall(command):
        if name not in PLACEHOLDERS:
            raise ValueError(f"unknown placeholder '{{{name}}}'")
    return words


def filled(command: str, files: Mapping[str, str]) -> list[str]:
    """Return the words of a command with the files in place of the placeholders."""
    return [_BRACES.sub(lambda found: files[found[1]], word) for word in split(command)]


def name_of(command: str) -> str:
    """Return the name of a command in reports: that of its program, and a first word that is not an option."""
    words = split(command)
    program = words[0].rpartition("/")[2]
    second = [word for word in words[1:2] if re.fullmatch(r"[A-Za-z][\w-]*", word)]
    return " ".join([program, *second])
