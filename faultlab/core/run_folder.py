"""The names of the files in a scenario's run folder, which who writes them and who reads them agree on."""

from __future__ import annotations

import re
from pathlib import Path

REPORT_FILE = "report.json"
PREVIOUS_FILE = "previous.json"
"""The report of the campaign before."""
PLAN_FILE = "plan.json"
OUTCOMES_FILE = "outcomes.jsonl"
ADVICE_FILE = "guards.json"
KNOWN_FILE = "known-good-runs.json"
CURVES_FILE = "curves.json"
TESTS_FILE = "tests.json"
LOGS = "logs"
MUTANTS_FOLDER = Path("mutants") / "work"
"""The scratch copy of the project that source mutants live in."""
CONCLUSIONS = (REPORT_FILE, "index.html", "lesson.html", CURVES_FILE, ADVICE_FILE, TESTS_FILE)
"""The files that say what a campaign came to, but for those of report formats, which the report knows."""
KEPT = (PREVIOUS_FILE, PLAN_FILE, OUTCOMES_FILE, KNOWN_FILE, LOGS, MUTANTS_FOLDER.parts[0])
"""What else lies in the folder."""


def file_name(fault: str) -> str:
    """The name of what is kept of a fault, without a suffix."""
    return re.sub(r"[^A-Za-z0-9.@=,-]", "_", fault)


def unfinished(folder: Path) -> bool:
    """Whether a run was begun in the folder and has come to no report: killed, broken, or still going on."""
    return not (folder / REPORT_FILE).is_file() and any(
        (folder / name).exists() for name in (PLAN_FILE, PREVIOUS_FILE, LOGS)
    )
