"""The names of a batch's tensors, which show what some of them are for."""

from __future__ import annotations

SELECTORS = ("mask", "length", "lengths", "len", "lens", "index", "ptr", "batch")
"""Last words of tensors that select or join others."""


def words(path: str) -> list[str]:
    """Return the words of a leaf's name: ``attention`` and ``mask`` of ``text.attention_mask``."""
    return path.rpartition(".")[2].lower().split("_")


def last_word(path: str) -> str:
    """Return the last word of a leaf's name: ``mask`` of ``text.attention_mask``."""
    return words(path)[-1]
