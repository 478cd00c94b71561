"""Judgement of reports on disk: by their own demands and the given ones, and by the accepted baseline."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab.core import atomic_write, partial
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind, reasons_to_json
from faultlab.core.report import SCHEMA, Report
from faultlab.core.run_folder import REPORT_FILE
from faultlab.errors import FaultlabError, InconclusiveError, UsageError
from faultlab.gate import baseline_check, evidence
from faultlab.gate import baseline_file as files
from faultlab.gate.baseline_file import Accepted
from faultlab.gate.demands import check, check_exemptions, check_mutants, exit_code, gravest

DEFAULT = Path("reports")


@dataclass
class JudgedReport:
    """One report and the reasons why it does not pass.

    ``report`` is None if it can't be trusted or read. ``whole`` is true if it was compared with its run folder's plan
    and outcomes, and false if they are missing. ``asked`` are demands in addition to its own.
    """

    file: Path
    report: Report | None = None
    whole: bool = False
    asked: Demands = field(default_factory=Demands)
    reasons: list[Reason] = field(default_factory=list)
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        scenario = self.report.scenario if self.report is not None else None
        found = {"file": str(self.file), "scenario": scenario, "passed": not self.reasons, "exit_code": self.exit_code}
        return {**found, "run_folder": self.whole, **reasons_to_json(self.reasons)}


@dataclass
class Judged:
    """All reports, and the reasons why they do not pass together.

    ``left_out`` has the reports that do not come from a user's scenario, with the command that wrote them.
    """

    reports: list[JudgedReport]
    reasons: list[Reason] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The most severe exit code: 0 passed, 1 not passed, 2 unreadable, 3 false alarms, 4 inconclusive."""
        return gravest([0, *(one.exit_code for one in self.reports), *([1] if self.reasons else [])])

    def to_json(self) -> dict[str, Any]:
        reports = [one.to_json() for one in self.reports]
        return {
            "schema": SCHEMA,
            "passed": self.exit_code == 0,
            "exit_code": self.exit_code,
            **reasons_to_json(self.reasons),
            "reports": reports,
            **({"left_out": {str(file): study for file, study in self.left_out.items()}} if self.left_out else {}),
        }

    def compare(self, baseline: Path) -> None:
        """Add the regressions from the baseline. Raises the errors of `baseline_file.read`."""
        accepted = files.read(baseline)
        for one in self.reports:
            if one.report is not None:
                # The run's own comparison was with the baseline as it was then.
                one.report.reasons = [r for r in one.report.reasons if r.kind is not ReasonKind.BASELINE]
                one.reasons = [r for r in one.reasons if r.kind is not ReasonKind.BASELINE]
                one.reasons += baseline_check.check(accepted, one.report)
                _conclude(one)
        self.reasons += baseline_check.missing(accepted, [one.report.scenario for one in self.reports if one.report])

    def accept(self, baseline: Path, reason: str, expires: datetime.date | None) -> list[str]:
        """Write the reports' results to the file, and return the changes, one line each.

        Raises InconclusiveError if a report proves nothing, and UsageError if a reason or a date is missing.
        """
        for one in self.reports:
            if one.report is None or one.exit_code == 4:
                raise InconclusiveError(
                    f"{one.file} can't be accepted, because it is inconclusive:\n    {one.reasons[0].text}"
                )
            if one.report.study:
                made = f"{one.file} does not come from a scenario of yours, but from `faultlab {one.report.study}`"
                raise UsageError(f"{made}\n    Accept the reports of `faultlab run`.")
        times = Counter(one.report.scenario for one in self.reports if one.report is not None)
        if twice := [name for name, count in times.items() if count > 1]:
            raise UsageError(f"two reports of the scenario {twice[0]!r}\n    Name the one to accept.")
        before = files.read(baseline) if baseline.is_file() else Accepted(schema=1)
        reports = [one.report for one in self.reports if one.report is not None]
        after = baseline_check.renewed(before, reports, reason, expires)
        try:
            atomic_write.write(baseline, files.written(after))
        except OSError as error:
            raise UsageError(f"{baseline}: {error.strerror}\n    Name a writable file.") from None
        kept = [f"{name}: unchanged, because it has no report here" for name in sorted(_others(before, reports))]
        return [*baseline_check.differences(before, after), *kept]


def judge(paths: Iterable[Path], demands: Demands) -> Judged:
    """Judge the reports at the paths, by default in reports/. Raises UsageError or InconclusiveError if none exists."""
    asked = list(paths)
    if not asked and not DEFAULT.is_dir():
        raise InconclusiveError(
            f"inconclusive: no folder {DEFAULT}/ here\n    Run the scenarios first: `faultlab run`."
        )
    left_out = evidence.studies_below(asked or [DEFAULT])
    found = [file for file in evidence.find(asked or [DEFAULT]) if file not in left_out]
    judged = [_judge(file, demands) for file in found]
    for folder, why in evidence.unfinished_below(asked or [DEFAULT]).items():
        judged.append(
            JudgedReport(folder / REPORT_FILE, reasons=[Reason(ReasonKind.UNREADABLE, f"{folder}: {why}")], exit_code=4)
        )
    if not judged:
        listed = ", ".join(str(file.parent) for file in left_out)
        raise InconclusiveError(f"inconclusive: no report of a scenario of yours, only {listed}\n    {evidence.AGAIN}")
    return Judged(judged, left_out=left_out)


def _judge(file: Path, demands: Demands) -> JudgedReport:
    one = JudgedReport(file)
    try:
        report = evidence.read(file, whole=True)
    except FaultlabError as error:
        one.reasons, one.exit_code = [Reason(ReasonKind.UNREADABLE, str(error))], error.exit_code
        return one
    one.report, one.whole = report, evidence.has_run_folder(file)
    asked = demands
    if demands.false_alarms is None and report.demands is not None:
        asked = replace(demands, false_alarms=report.demands.false_alarms)
    unfit = [Reason(ReasonKind.UNFIT, f"inconclusive: {why}") for why in _unfit(report, demands)]
    found = [*unfit, *report.reasons, *evidence.reasons_of(report), *check_exemptions(report)]
    if report.faults or report.mutation is None:
        found += check(report, asked)
    if report.demands is not None:
        found += check_mutants(report, report.demands.mutants)
    one.reasons = list(dict.fromkeys(found))
    one.asked = asked
    _conclude(one)
    return one


def _unfit(report: Report, given: Demands) -> Iterator[str]:
    """Yield the reasons why a report doesn't cover everything that its gate demands."""
    if report.shard:
        yield f"it is only shard {report.shard}; merge the shards with `faultlab merge`"
    elif report.selection:
        yield f"it is partial, limited by {partial.limits(report)}; {partial.REMEDY}"
    elif report.mutation is not None and report.mutation.shard:
        yield f"it has only shard {report.mutation.shard} of the mutants"
    wanted = [name for asked in (report.demands, given) if asked is not None for name in asked.of_faults]
    if report.mutation is not None and not report.faults and wanted:
        listed = ", ".join(dict.fromkeys(wanted))
        yield f"no fault was injected, but the gate demands {listed}; run the scenario: `faultlab run`"
    scenario = Path(str(report.target.get("scenario", "")))
    # If reports are judged on another machine, the folder is missing too.
    if scenario.parent != Path() and scenario.parent.is_dir() and not scenario.exists():
        yield f"its scenario {scenario} no longer exists; remove the run folder, or restore the scenario"


def _conclude(one: JudgedReport) -> None:
    assert one.report is not None
    one.report.reasons, one.report.passed = one.reasons, not one.reasons
    limits = [d.false_alarms or 0 for d in (one.asked, one.report.demands) if d is not None]
    one.exit_code = exit_code(one.report, Demands(false_alarms=min(limits, default=0)))


def _others(before: Accepted, reports: Iterable[Report]) -> set[str]:
    return before.scenarios.keys() - {report.scenario for report in reports}
