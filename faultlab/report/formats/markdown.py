"""Escaping of text for Markdown."""

from __future__ import annotations

import re

# An underscore between letters is one to Markdown too.
_SPECIAL = re.compile(r"([\\*<>\[\]|`]|(?<!\w)_|_(?!\w))")
# A code span ends with as many backticks as it began with.
_SPAN = re.compile(r"((?<!`)(?:`[^`]+`|``[^`]+``)(?!`))")


def inline(text: str) -> str:
    """Return prose with all Markdown but its code spans escaped."""
    parts = _SPAN.split(text)
    # Every second part is a code span.
    return "".join(part if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def cell(text: str) -> str:
    """Return prose escaped for a table's cell, which a bar ends even within code."""
    return re.sub(r"(?<!\\)\|", r"\\|", inline(text))


def code(text: str) -> str:
    """Return a text as a code span that is valid in a table; backticks in it become apostrophes."""
    flat = " ".join(text.split()).replace("`", "'").replace("|", r"\|")
    return f"`{flat}`" if flat else ""


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
