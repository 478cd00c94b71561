"""Decides whether a campaign passes. An inconclusive fault is a reason not to pass, whatever the gate demands."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from faultlab.catalogue import index, mutation_scores
from faultlab.catalogue.failure_mode import matching
from faultlab.core.comparison import standings
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import INCONCLUSIVE, Report, Status

_GRAVEST_FIRST = (130, 70, 2, 3, 4, 1, 0)


def check(report: Report, demands: Demands | None = None) -> list[Reason]:
    """Return every reason why the campaign does not pass.

    The demands are the report's own unless others are given. A shard is judged only by what it can know: whether its
    faults are conclusive, and false alarms.
    """
    asked = demands or report.demands or Demands()
    reasons = [
        Reason(ReasonKind.FAULT_UNPROVEN, f"inconclusive: {fault.id} is {fault.status.value} ({fault.reason})")
        for fault in report.faults
        if fault.status in INCONCLUSIVE
    ]
    if not report.shard:
        if report.ratio is None and not any(fault.status is Status.NO_EFFECT for fault in report.faults):
            reasons.append(Reason(ReasonKind.NOTHING_ACTIVATED, "inconclusive: no fault was activated"))
        reasons += _coverage(report, asked)
        reasons += _silent(report, asked)
        reasons += _late(report, asked)
    return reasons + check_alarms(report, asked)


def check_alarms(report: Report, demands: Demands | None = None) -> list[Reason]:
    """Return the reason if there are more false alarms than allowed."""
    asked = demands or report.demands or Demands()
    alarms, allowed = len(report.baseline.false_alarms), asked.false_alarms or 0
    names = ", ".join(dict.fromkeys(alarm.name for alarm in report.baseline.false_alarms))
    text = f"{alarms} false alarms on clean runs, {allowed} allowed: {names}"
    return [Reason(ReasonKind.FALSE_ALARMS, text)] if alarms > allowed else []


def check_exemptions(report: Report, today: datetime.date | None = None) -> list[Reason]:
    """Return the reasons for exemptions that are expired today, or that don't apply to this target anyway."""
    statuses = report.by_mode()
    wrong = []
    for exemption in report.exemptions:
        modes = matching(exemption["mode"], index.modes())
        if not any(mode in statuses for mode in modes):
            continue  # not selected in this run
        said = f"the exemption of {exemption['mode']} ({exemption['reason']})"
        if datetime.date.fromisoformat(exemption["expires"]) < (today or datetime.date.today()):
            wrong.append(f"{said} expired on {exemption['expires']}: renew or remove it")
        elif all(statuses.get(mode) is Status.NOT_APPLICABLE for mode in modes):
            wrong.append(f"{said} is stale: the failure mode does not apply to this target; remove it")
    return [Reason(ReasonKind.EXEMPTION, said) for said in wrong]


def check_mutants(report: Report, demanded: float | None) -> list[Reason]:
    """Return the reasons why the source mutants of a report don't pass; ``demanded`` is the minimum score.

    A demanded score without any mutant that counts proves nothing, except with ``--since``, after which there may be
    nothing to mutate, and in a shard.
    """
    if report.mutation is None:
        said = f"the gate demands a score of {demanded}, but there is none; run `faultlab mutate`"
        return [] if demanded is None else [_unproven(said)]
    reasons = [_unproven(f"{r.id} is an error ({r.reason})") for r in report.mutants if r.status is Status.ERROR]
    score = mutation_scores.score(report.mutants)
    if demanded is not None and score is None and not (report.mutation.since or report.mutation.shard or report.shard):
        reasons.append(_unproven(f"the gate demands a score of {demanded}, but no mutant counts"))
    if demanded is not None and score is not None and score < demanded:
        reasons.append(Reason(ReasonKind.MUTANTS_SCORE, f"mutants: score {score:.3f} is below {demanded}"))
    return reasons


def gravest(statuses: Iterable[int]) -> int:
    """Return the most severe of several exit codes."""
    found = set(statuses)
    return next(status for status in _GRAVEST_FIRST if status in found)


def exit_code(report: Report, demands: Demands | None = None) -> int:
    """Return the exit code for one report: 0 passed, 1 not passed, 3 too many false alarms, 4 inconclusive."""
    asked = demands or report.demands or Demands()
    if len(report.baseline.false_alarms) > (asked.false_alarms or 0):
        return 3
    if any(reason.proves_nothing for reason in report.reasons):
        return 4
    return 0 if report.passed else 1


def _unproven(text: str) -> Reason:
    return Reason(ReasonKind.MUTANTS_UNPROVEN, f"mutants: inconclusive: {text}")


def _coverage(report: Report, asked: Demands) -> list[Reason]:
    reasons = []
    for demanded in (asked.coverage, asked.fail_under):
        if demanded is not None and (report.ratio or 0.0) < demanded:
            reached, wanted = _apart(report.ratio or 0.0, demanded)
            reasons.append(Reason(ReasonKind.COVERAGE, f"coverage {reached} is below {wanted}"))
    return reasons


def _silent(report: Report, asked: Demands) -> list[Reason]:
    modes = report.by_mode()
    severity = {fault.mode: fault.severity for fault in report.faults}
    reasons = []
    for level, allowed in asked.silent.items():
        silent = [mode for mode, status in modes.items() if status is Status.SILENT and severity[mode] == level]
        if len(silent) > allowed:
            text = f"{len(silent)} {level} failure modes are silent, {allowed} allowed: {', '.join(silent)}"
            reasons.append(Reason(ReasonKind.SILENT, text))
    return reasons


def _late(report: Report, asked: Demands) -> list[Reason]:
    if asked.latency is None:
        return []
    late = {
        mode: standing.latency
        for mode, standing in standings(report).items()
        if standing.status is Status.DETECTED and (standing.latency or 0) > asked.latency
    }
    if not late:
        return []
    modes = ", ".join(f"{mode} (after {steps})" for mode, steps in sorted(late.items()))
    text = f"{len(late)} failure modes are detected after more than {asked.latency} steps: {modes}"
    return [Reason(ReasonKind.LATENCY, text)]


def _apart(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with the fewest digits, at least two, at which they differ."""
    texts = ((f"{one:.{digits}f}", f"{other:.{digits}f}") for digits in range(2, 9))
    return next((pair for pair in texts if pair[0] != pair[1]), (str(one), str(other)))
