"""What is written beside a report.json for those who read it: the pages, and the formats of other tools."""

from __future__ import annotations

import sys
from pathlib import Path

from faultlab.core import atomic_write
from faultlab.core.report import Report
from faultlab.report import reporters
from faultlab.report.html import document
from faultlab.report.text import harmless


def write(report: Report, out: Path, lesson: bool = False) -> Path:
    """Writes it into the scenario's folder under ``out``, refreshes the index there, and returns the page's path.

    With ``lesson`` that of the lesson, which is written too. A format of another package that fails is told on standard
    error, after all else is written.
    """
    folder = out / report.scenario
    for name, text in reporters.texts(report, folder):
        _write(folder / name, text)
    page = document.write(report, out)
    if lesson:
        page = document.write_lesson(report, folder)
    for name, text, complaint in reporters.added_texts(report, folder):
        if complaint:
            print(harmless(complaint), file=sys.stderr)
        else:
            _write(folder / name, text)
    return page


def _write(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink(missing_ok=True)
    else:
        atomic_write.write(file, text)
