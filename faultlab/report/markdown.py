"""Text as Markdown that says just that."""

from __future__ import annotations

import re

# An underscore between letters is one to Markdown too.
_SPECIAL = re.compile(r"([\\*<>\[\]|]|(?<!\w)_|_(?!\w))")


def inline(text: str) -> str:
    """Prose in which Markdown sees no more than the docstring's own code spans."""
    spans = re.split(r"(`[^`]*`)", text)
    return "".join(span if span.startswith("`") else _SPECIAL.sub(r"\\\1", span) for span in spans)


def cell(text: str) -> str:
    """The same within a table, where a bar ends the cell even in code."""
    return re.sub(r"(?<!\\)\|", r"\\|", inline(text))


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
