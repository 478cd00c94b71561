"""Reports on disk judged: each by its own demands and those given, and all of them by what was accepted."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab.core import atomic_write
from faultlab.core.reason import Reason, ReasonKind, reasons_to_json
from faultlab.core.report import SCHEMA, Demands, Report
from faultlab.core.run_folder import REPORT_FILE
from faultlab.errors import FaultlabError, InconclusiveError, UsageError
from faultlab.gate import baseline_check, evidence
from faultlab.gate import baseline_file as files
from faultlab.gate.baseline_file import Accepted
from faultlab.gate.demands import check, check_exemptions, check_mutants, exit_code, gravest

DEFAULT = Path("reports")


@dataclass
class JudgedReport:
    """One report and why it does not pass. ``report`` is None where it can't be trusted or read; ``whole`` says that
    it agrees with its run folder's plan and outcomes, which are not there otherwise; ``asked`` is demanded besides its
    own demands."""

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
    """All of them, and why they do not pass together.

    ``left_out`` has the files of reports that are of no scenario of the user's, and by which command they were made.
    """

    reports: list[JudgedReport]
    reasons: list[Reason] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 passed, 1 not, 2 what can't be read, 3 false alarms, 4 inconclusive: the gravest."""
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
        """Adds what the reports have lost of what was accepted; raises as `accepted.read` does."""
        accepted = files.read(baseline)
        for one in self.reports:
            if one.report is not None:
                # What a run said of the baseline as it was then is said anew.
                one.report.reasons = [r for r in one.report.reasons if r.kind is not ReasonKind.BASELINE]
                one.reasons = [r for r in one.reasons if r.kind is not ReasonKind.BASELINE]
                one.reasons += baseline_check.check(accepted, one.report)
                _conclude(one)
        self.reasons += baseline_check.missing(accepted, [one.report.scenario for one in self.reports if one.report])

    def accept(self, baseline: Path, reason: str, expires: datetime.date | None) -> list[str]:
        """Writes the reports' findings into the file; returns what is other than before, a line each.

        Raises InconclusiveError where a report proves nothing, UsageError where a reason or a day is wanting.
        """
        for one in self.reports:
            if one.report is None or one.exit_code == 4:
                raise InconclusiveError(f"{one.file} proves nothing, and can't be accepted:\n    {one.reasons[0].text}")
            if one.report.study:
                made = f"{one.file} is of no scenario of yours: `faultlab {one.report.study}` has made it"
                raise UsageError(f"{made}\n    Accept the reports of `faultlab run`.")
        times = Counter(one.report.scenario for one in self.reports if one.report is not None)
        if twice := [name for name, count in times.items() if count > 1]:
            raise UsageError(f"there are two reports of the scenario {twice[0]!r}\n    Name the one to accept.")
        before = files.read(baseline) if baseline.is_file() else Accepted(schema=1)
        reports = [one.report for one in self.reports if one.report is not None]
        after = baseline_check.renewed(before, reports, reason, expires)
        try:
            atomic_write.write(baseline, files.written(after))
        except OSError as error:
            raise UsageError(f"{baseline}: {error.strerror}; name a file that can be written to") from None
        kept = [f"{name}: no report of it here, kept as it was" for name in sorted(_others(before, reports))]
        return [*baseline_check.differences(before, after), *kept]


def judge(paths: Iterable[Path], demands: Demands) -> Judged:
    """The reports at the paths, or in reports/ if there is no path. Raises UsageError or InconclusiveError where there
    are none."""
    asked = list(paths)
    if not asked and not DEFAULT.is_dir():
        raise InconclusiveError(
            f"inconclusive: there is no folder {DEFAULT}/ here\n    Run the scenarios first: `faultlab run`."
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
    """Why a report, whatever it says, is not of all that its gate is about."""
    if report.shard:
        yield f"it is share {report.shard} of a campaign; join the shares by `faultlab merge`"
    elif report.mutation is not None and report.mutation.shard:
        yield f"it has share {report.mutation.shard} of the mutants alone"
    wanted = [name for asked in (report.demands, given) if asked is not None for name in asked.of_faults]
    if report.mutation is not None and not report.faults and wanted:
        listed = ", ".join(dict.fromkeys(wanted))
        yield f"no fault was injected, and {listed} is asked for; run the scenario: `faultlab run`"
    scenario = Path(str(report.target.get("scenario", "")))
    # Where reports are judged elsewhere than they were made, the folder is not there either.
    if scenario.parent != Path() and scenario.parent.is_dir() and not scenario.exists():
        yield f"{scenario} is no more, of which this is a report; remove its folder, or run it again"


def _conclude(one: JudgedReport) -> None:
    assert one.report is not None
    one.report.reasons, one.report.passed = one.reasons, not one.reasons
    limits = [d.false_alarms or 0 for d in (one.asked, one.report.demands) if d is not None]
    one.exit_code = exit_code(one.report, Demands(false_alarms=min(limits, default=0)))


def _others(before: Accepted, reports: Iterable[Report]) -> set[str]:
    return before.scenarios.keys() - {report.scenario for report in reports}
