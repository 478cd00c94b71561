"""File names in a scenario's run folder, shared by writers and readers."""

from __future__ import annotations

import re
from pathlib import Path

REPORT_FILE = "report.json"
PREVIOUS_FILE = "previous.json"
"""The report of the previous campaign."""
PLAN_FILE = "plan.json"
OUTCOMES_FILE = "outcomes.jsonl"
ADVICE_FILE = "guards.json"
KNOWN_FILE = "known-good-runs.json"
CURVES_FILE = "curves.json"
TESTS_FILE = "tests.json"
LOGS = "logs"
SELECTED = "selected"
"""The folder inside the run folder for a campaign with `--select` or `--ignore`: it replaces no complete report."""
MUTANTS_FOLDER = Path("mutants") / "work"
"""The scratch copy of the project where source mutants run."""
CONCLUSIONS = (REPORT_FILE, "index.html", "lesson.html", CURVES_FILE, ADVICE_FILE, TESTS_FILE)
"""The files with a campaign's conclusions, without those of report formats, which the report knows."""
EARLIER = ".earlier"
"""The conclusions of the campaign before, until it is certain that another one runs."""
KEPT = (PREVIOUS_FILE, EARLIER, PLAN_FILE, OUTCOMES_FILE, KNOWN_FILE, LOGS, MUTANTS_FOLDER.parts[0], SELECTED)
"""The other entries of the folder."""


def file_name(fault: str) -> str:
    """Return the file name for a fault, without a suffix."""
    return re.sub(r"[^A-Za-z0-9.@=,-]", "_", fault)


def folder_of(out: Path, scenario: str, partial: bool = False) -> Path:
    """Return the run folder of a scenario; a partial campaign has its own inside it."""
    return out / scenario / SELECTED if partial else out / scenario


def report_in(folder: Path) -> Path | None:
    """Return the report in a run folder: the complete one, else a partial one; None if there is neither.

    A run without a report has none either, whatever else its folder holds.
    """
    if unfinished(folder):
        return None
    files = (folder / REPORT_FILE, folder / SELECTED / REPORT_FILE)
    return next((file for file in files if file.is_file()), None)


def reports_below(folder: Path) -> list[Path]:
    """Return the report in each run folder below a folder, sorted."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for path in inside if path.is_dir() and (file := report_in(path)) is not None]


def unfinished(folder: Path) -> bool:
    """Return True if a run was started in the folder and has no report: killed, broken, or still running."""
    return not (folder / REPORT_FILE).is_file() and any(
        (folder / name).exists() for name in (PLAN_FILE, PREVIOUS_FILE, LOGS)
    )
