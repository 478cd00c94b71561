"""Text as Markdown that says just that."""

from __future__ import annotations

import re

# An underscore between letters is one to Markdown too.
_SPECIAL = re.compile(r"([\\*<>\[\]|`]|(?<!\w)_|_(?!\w))")
# As many backticks close a span as opened it.
_SPAN = re.compile(r"((?<!`)(?:`[^`]+`|``[^`]+``)(?!`))")


def inline(text: str) -> str:
    """Prose in which Markdown sees no more than the docstring's own code spans."""
    parts = _SPAN.split(text)
    # Every second one is a span.
    return "".join(part if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def cell(text: str) -> str:
    """The same within a table, where a bar ends the cell even in code."""
    return re.sub(r"(?<!\\)\|", r"\\|", inline(text))


def code(text: str) -> str:
    """A text as code that stands in a table too; a backtick in it would end the code and becomes an apostrophe."""
    flat = " ".join(text.split()).replace("`", "'").replace("|", r"\|")
    return f"`{flat}`" if flat else ""


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
