"""The logs of victims, kept for the faults that are worth a look, and the .gitignore beside the run folders."""

from __future__ import annotations

import contextlib
from pathlib import Path

from faultlab.core.records import Records
from faultlab.core.report import FaultResult, Status
from faultlab.core.results import Outcome
from faultlab.core.run_folder import LOGS, OUTCOMES_FILE, PLAN_FILE, REPORT_FILE, SELECTED

KEPT = (Status.SILENT, Status.ERROR, Status.NOT_ACTIVATED, Status.TIMEOUT)
"""The verdicts whose logs are kept: the output of other faults is in the report, as messages of detectors."""
_FAULT = "@"
"""A character that every fault's id has, and no clean run's."""
_IGNORED = "# Written by faultlab. Keep a file in spite of this with `git add --force`.\n*\n"


class Logs:
    """The logs of one campaign. Each is written before its verdict, and removed if the verdict does not need it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._clean: set[str] = set()
        """The lines that clean runs print: a fork prints some of them, in another order."""

    def write(self, outcome: Outcome) -> None:
        """Write what a victim printed."""
        self._records.log(outcome)

    def learn_clean(self) -> None:
        """Remember what clean runs print, and keep only those of their logs that add a line."""
        for log in sorted((self._records.folder / LOGS).glob("*.log"), key=lambda log: log.stem):
            if _FAULT in log.name:
                continue
            lines = _lines(log)
            if lines <= self._clean:
                log.unlink()
            self._clean |= lines

    def keep_or_drop(self, result: FaultResult) -> None:
        """Remove a fault's log unless its verdict is worth a look and it has more than a clean run's."""
        log = Path(self._records.log_file(result.id))
        with contextlib.suppress(OSError):
            if result.status not in KEPT or _lines(log) <= self._clean:
                log.unlink()

    def drop(self, id: str) -> None:
        """Remove the log of a run that is not a fault of the plan."""
        Path(self._records.log_file(id)).unlink(missing_ok=True)


def _lines(log: Path) -> set[str]:
    return set(log.read_text(encoding="utf-8", errors="replace").splitlines())


def ignore_by_git(out: Path) -> None:
    """Write a .gitignore into the folder of all runs, unless there is one or the folder has other files than runs."""
    file = out / ".gitignore"
    with contextlib.suppress(OSError):
        if not file.exists() and all(_written_by_runs(entry) for entry in out.iterdir()):
            file.write_text(_IGNORED, encoding="utf-8")


def _written_by_runs(entry: Path) -> bool:
    names = (REPORT_FILE, PLAN_FILE, OUTCOMES_FILE, LOGS, SELECTED)
    return entry.name == "index.html" or any((entry / name).exists() for name in names)
