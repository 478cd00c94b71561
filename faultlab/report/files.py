"""The files beside report.json: the pages, and the formats of other tools."""

from __future__ import annotations

import sys
from pathlib import Path

from faultlab.core import atomic_write
from faultlab.core.report import Report
from faultlab.core.run_folder import folder_of
from faultlab.report import reporters
from faultlab.report.html import document
from faultlab.report.text import harmless


def write(report: Report, out: Path, lesson: bool = False) -> Path:
    """Write the files into the scenario's folder under ``out`` and refresh the index; return the page's path.

    With ``lesson`` also write the lesson's page and return that one. If a format of another package fails, the error
    is printed to stderr after everything else is written.
    """
    folder = folder_of(out, report.scenario, bool(report.selection))
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
