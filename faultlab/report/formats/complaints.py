"""The findings of a report, each with its place in the user's source, for all formats."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from faultlab.catalogue import guard_index
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.report import INCONCLUSIVE, FaultResult, Report, Status
from faultlab.report.mutants import change, in_order
from faultlab.report.overview import cost, known_modes
from faultlab.report.text import harmless, short

ERROR, WARNING, NOTE = "error", "warning", "note"
_LONGEST = 1000


@dataclass(frozen=True)
class Finding:
    """A failure mode or mutant that is silent, only warned of, or without a verdict.

    ``rule`` is the failure mode's id or the mutant's kind, ``fault`` what was injected. ``file`` is relative to the
    repository's root and may be empty; lines and columns count from 1. ``fingerprint`` stays the same from run to run.
    """

    rule: str
    fault: str
    level: str
    title: str
    message: str
    remedy: str
    file: str = ""
    line: int = 1
    column: int = 1
    fingerprint: str = ""


def findings(report: Report) -> list[Finding]:
    """Return a finding for each failure mode, by its worst fault, and for each mutant; the most severe first."""
    known, _ = known_modes()
    worst: dict[str, FaultResult] = {}
    modes = report.by_mode()
    silent = report.silent()
    others = [fault for fault in report.faults if fault.status is not Status.SILENT]
    for fault in [*silent, *sorted(others, key=lambda fault: fault.badness)]:
        if fault.status is modes[fault.mode] and fault.status in (Status.SILENT, Status.WARNED, *INCONCLUSIVE):
            worst.setdefault(fault.mode, fault)
    found = [_of_fault(report, fault, known.get(fault.mode)) for fault in worst.values()]
    mutants = [one for one in report.mutants if one.status in (Status.SILENT, Status.WARNED, Status.ERROR)]
    found += [_of_mutant(report, result) for result in in_order(mutants)]
    order = (ERROR, WARNING, NOTE)
    return sorted(found, key=lambda finding: order.index(finding.level))


def rules(report: Report) -> dict[str, tuple[str, str, str]]:
    """Return title, description and remedy of each rule that has a finding."""
    known, _ = known_modes()
    made: dict[str, tuple[str, str, str]] = {}
    for finding in findings(report):
        mode = known.get(finding.rule)
        if mode is not None:
            made[finding.rule] = (_plain(mode.summary), _plain(mode.sections.effect), _plain(mode.sections.remedy))
        else:
            kind = finding.rule.partition(".")[2].replace("-", " ")
            what = "A change of the source that no test and no guard detects."
            made[finding.rule] = (
                f"Source mutant: {kind}",
                what,
                "Write a test that fails with the change, or exempt the line.",
            )
    return made


def _of_fault(report: Report, fault: FaultResult, mode: FailureMode | None) -> Finding:
    level = {Status.SILENT: ERROR if fault.harmful else WARNING, Status.WARNED: NOTE}.get(fault.status, WARNING)
    how = {Status.SILENT: "no detector reports", Status.WARNED: "only a warning reports"}.get(
        fault.status, f"no verdict ({fault.status.value}) on"
    )
    what = mode.summary if mode is not None else fault.mode
    remedy = _guards(fault) or (mode.sections.remedy if mode is not None else "")
    said = cost(fault) if fault.status is Status.SILENT else (fault.reason or "; ".join(fault.warnings[:1]))
    file, line = _method(report, mode)
    return Finding(
        rule=fault.mode,
        fault=fault.id,
        level=level,
        title=_plain(f"{how} {fault.mode}"),
        message=_plain(f"{what} Injected as {fault.id}: {said}"),
        remedy=_plain(remedy),
        file=file,
        line=line,
        fingerprint=_fingerprint(report.scenario, fault.mode),
    )


def _of_mutant(report: Report, result: FaultResult) -> Finding:
    said = result.mutant or {}
    how = {Status.SILENT: "no detector reports", Status.WARNED: "only a warning reports"}.get(
        result.status, "not judged:"
    )
    return Finding(
        rule=result.mode,
        fault=result.id,
        level=NOTE if result.status is Status.WARNED else WARNING,
        title=_plain(f"{how} a mutant of {said.get('function')}"),
        message=_plain(f"{change(result)}: {result.reason}"),
        remedy=_plain(_guards(result) or "Write a test that fails with this change."),
        file=_in_repository(report, str(said.get("file", ""))),
        line=int(said.get("line", 1)),
        column=int(said.get("column", 1)),
        # Line numbers change between runs; the function and the change do not.
        fingerprint=_fingerprint(report.scenario, said.get("file"), said.get("function"), said.get("diff")),
    )


def _guards(fault: FaultResult) -> str:
    """Return the remedy that ready-made guards are; empty if none detects the fault."""
    guards = [entry.guard for entry in fault.prescription]
    if pasteable := [guard for guard in guards if not guard_index.needs_record(guard)]:
        return f"Add a guard that detects it: {', '.join(pasteable[:3])}."
    return f"Record clean runs for {guards[0]}: faultlab prescribe --records." if guards else ""


def _method(report: Report, mode: FailureMode | None) -> tuple[str, int]:
    """Return the file and line of the method that the failure mode acts on, or of the class without such a method."""
    target: Mapping[str, Any] = report.target
    name = mode.method if mode is not None else ""
    line = target.get("methods", {}).get(name, target.get("line", 1))
    if target.get("file"):
        return _in_repository(report, target["file"]), int(line)
    # Without a source file the finding is placed in the scenario: some readers reject findings without a place.
    scenario = str(target.get("scenario", ""))
    return ("" if PurePath(scenario).is_absolute() else scenario), 1


def _in_repository(report: Report, file: str) -> str:
    """Return the path of a project's file relative to its repository, as code hosts expect it."""
    project = str(report.target.get("project", ""))
    return f"{project}/{file}" if project and file else file


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:32]


def _plain(text: str) -> str:
    return short(harmless(" ".join(text.split())), _LONGEST)
