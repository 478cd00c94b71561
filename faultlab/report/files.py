"""What is written beside a report.json for those who read it: the pages, and the formats of other tools."""

from __future__ import annotations

from pathlib import Path

from faultlab import wholefile
from faultlab.report import badge, gitlab, html, junit, sarif, stryker, summary
from faultlab.results import Report, dump

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
        wholefile.write(folder / name, render(report))
    wholefile.write(folder / "summary.md", summary.render(report, html.since_before(report, folder)))
    if report.mutation is not None:
        wholefile.write(folder / stryker.FILE, dump(stryker.export(report, folder), indent=1))
    else:
        (folder / stryker.FILE).unlink(missing_ok=True)
    page = html.write(report, out)
    return html.write_lesson(report, folder) if lesson else page
