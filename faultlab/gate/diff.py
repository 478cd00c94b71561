"""The differences between reports on disk, by scenario."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faultlab.core.comparison import Comparison, compare
from faultlab.core.report import SCHEMA, Report
from faultlab.core.run_folder import REPORT_FILE
from faultlab.errors import UsageError
from faultlab.gate import evidence


@dataclass
class Differences:
    """The comparisons of the common scenarios, and the names of those that only one side has."""

    comparisons: list[Comparison] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gone or self.new or any(self.comparisons))

    def to_json(self) -> dict[str, Any]:
        compared = [found.to_json() for found in self.comparisons]
        return {"schema": SCHEMA, "differ": bool(self), "scenarios": compared, "gone": self.gone, "new": self.new}


def between(before: Path, after: Path) -> Differences:
    """Compare two reports, whatever their names, or two folders of reports by the scenarios' names.

    Raises UsageError or InconclusiveError if there are none, or if one was modified.
    """
    then, now = ([evidence.read(file) for file in evidence.find([path])] for path in (before, after))
    if len(then) == len(now) == 1 and not (_holds_several(before) or _holds_several(after)):
        return Differences([compare(then[0], now[0])])
    first, second = _by_name(before, then), _by_name(after, now)
    both = [name for name in first if name in second]
    return Differences(
        [compare(first[name], second[name]) for name in both],
        gone=[name for name in first if name not in second],
        new=[name for name in second if name not in first],
    )


def _holds_several(path: Path) -> bool:
    return path.is_dir() and not (path / REPORT_FILE).is_file()


def _by_name(path: Path, reports: list[Report]) -> dict[str, Report]:
    found: dict[str, Report] = {}
    for report in reports:
        if report.scenario in found:
            raise UsageError(f"{path}: two reports of the scenario {report.scenario!r}\n    Remove one of them.")
        found[report.scenario] = report
    return found
