"""What is written beside a report.json for those who read it: the pages, and the mutants for viewers of others."""

from __future__ import annotations

from pathlib import Path

from faultlab.report import html, stryker
from faultlab.results import Report, dump


def write(report: Report, out: Path) -> Path:
    """Writes it into the scenario's folder under ``out``, refreshes the index there, and returns the page's path."""
    folder = out / report.scenario
    if report.mutation is not None:
        html.write_whole(folder / stryker.FILE, dump(stryker.export(report, folder), indent=1))
    else:
        (folder / stryker.FILE).unlink(missing_ok=True)
    return html.write(report, out)
