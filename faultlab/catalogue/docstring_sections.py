"""The sections of an injector's docstring, which `explain`, the docs and the report read.

A docstring begins with one sentence and optional paragraphs of details, followed by sections. The title of a section
begins a line and ends with a colon::

    `training_step` forgets its `return`.

    Effect: The error, the warning, or the silent consequence on stock Lightning.
    Why it goes undetected: ...
    Example: ...
    Remedy: ...
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

SECTIONS = ("Effect", "Why it goes undetected", "Example", "Remedy")
_TITLE = re.compile(rf"^({'|'.join(SECTIONS)}):[ \t]*", re.MULTILINE)


@dataclass(frozen=True)
class Sections:
    """A parsed docstring; a missing section is an empty string."""

    summary: str = ""
    effect: str = ""
    undetected: str = ""
    example: str = ""
    remedy: str = ""
    details: str = ""

    def missing(self) -> list[str]:
        """Return the titles of the missing sections."""
        texts = (self.summary, self.effect, self.undetected, self.example, self.remedy)
        return [title for title, text in zip(("summary", *SECTIONS), texts) if not text]


def parse_sections(docstring: str | None) -> Sections:
    """Return the sections of a docstring; line breaks in prose are folded, indented code keeps its lines."""
    text = inspect.cleandoc(docstring or "")
    pieces = _TITLE.split(text)
    found = dict(zip(pieces[1::2], pieces[2::2]))
    summary, _, details = _fold(pieces[0]).partition("\n\n")
    effect, undetected, example, remedy = (_fold(found.get(title, "")) for title in SECTIONS)
    return Sections(summary, effect, undetected, example, remedy, details)


def _fold(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
    folded = "\n\n".join(_fold_paragraph(p) for p in paragraphs if p.strip()).strip("\n")
    return folded[:1].upper() + folded[1:]


def _fold_paragraph(paragraph: str) -> str:
    lines = paragraph.splitlines()
    code = [line for line in lines if line.startswith("    ")]
    prose = " ".join(line.strip() for line in lines if not line.startswith("    "))
    return "\n".join(filter(None, [prose, *code]))
