"""What is written beside a report.json for those who read it: the pages, and the formats of other tools."""

from __future__ import annotations

from pathlib import Path

from faultlab.core import atomic_write
from faultlab.core.report import Report, dump
from faultlab.report.formats import badge, gitlab, junit, sarif, stryker, summary
from faultlab.report.html import document

_FORMATS = {
    "junit.xml": junit.render,
    "faultlab.sarif": sarif.render,
    "gitlab.json": gitlab.render,
    "badge.json": badge.render,
}


def write(report: Report, out: Path, lesson: bool = False) -> Path:
    """Writes it into the scenario's folder under ``out``, refreshes the index there, and returns the page's path.

    With ``lesson`` that of the lesson, which is written too.
    """
    folder = out / report.scenario
    for name, render in _FORMATS.items():
        atomic_write.write(folder / name, render(report))
    atomic_write.write(folder / "summary.md", summary.render(report, document.since_before(report, folder)))
    if report.mutation is not None:
        atomic_write.write(folder / stryker.FILE, dump(stryker.export(report, folder), indent=1))
    else:
        (folder / stryker.FILE).unlink(missing_ok=True)
    page = document.write(report, out)
    return document.write_lesson(report, folder) if lesson else page
