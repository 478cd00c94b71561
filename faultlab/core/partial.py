"""Partial reports: those of a run that ``--select`` or ``--ignore`` limited to a part of the scenario's faults."""

from __future__ import annotations

import shlex
from dataclasses import replace

from faultlab.core.report import Report

REMEDY = "run all faults with `faultlab run`, or name the selection under `faults:` in the scenario"


def limits(report: Report) -> str:
    """Return the options that limited the run, as on a command line; empty for a complete report."""
    options = (("--select", report.selection.get("select", [])), ("--ignore", report.selection.get("ignore", [])))
    return " ".join(f"{option} {shlex.quote(glob)}" for option, globs in options for glob in globs)


def title(report: Report) -> str:
    """Return the scenario's name, marked if the report is partial."""
    return f"{report.scenario} (partial)" if report.selection else report.scenario


def comparable(before: Report, after: Report) -> tuple[Report, Report]:
    """Return the reports without the faults that only one of them was asked to inject."""
    if before.selection == after.selection:
        return before, after
    common = {fault.id for fault in before.faults} & {fault.id for fault in after.faults}
    return _only(before, common), _only(after, common)


def _only(report: Report, faults: set[str]) -> Report:
    return replace(report, faults=[fault for fault in report.faults if fault.id in faults])
