"""Whether a campaign passes. Nothing passes by accident: what is inconclusive is a reason, whatever the gate asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from faultlab.results import INCONCLUSIVE, Report, Status

_GRAVEST_FIRST = (130, 70, 2, 3, 4, 1, 0)


class Demands(Protocol):
    """What a scenario's ``gate:`` asks for."""

    coverage: float | None
    silent: dict[str, int]
    false_alarms: int | None


def check(report: Report, gate: Demands, fail_under: float | None = None) -> list[str]:
    """Every reason why the campaign does not pass; those that begin with ``inconclusive`` prove nothing either way."""
    reasons = [
        f"inconclusive: {fault.id} is {fault.status.value} ({fault.reason})"
        for fault in report.faults
        if fault.status in INCONCLUSIVE
    ]
    if report.ratio is None and not any(fault.status is Status.NO_EFFECT for fault in report.faults):
        reasons.append("inconclusive: no fault was activated")
    for demanded in (gate.coverage, fail_under):
        if demanded is not None and (report.ratio or 0.0) < demanded:
            reached, wanted = _apart(report.ratio or 0.0, demanded)
            reasons.append(f"coverage {reached} is under {wanted}")
    modes = report.by_mode()
    severity = {fault.mode: fault.severity for fault in report.faults}
    for level, allowed in gate.silent.items():
        silent = [mode for mode, status in modes.items() if status is Status.SILENT and severity[mode] == level]
        if len(silent) > allowed:
            reasons.append(f"{len(silent)} {level} failure modes are silent, {allowed} allowed: {', '.join(silent)}")
    alarms, allowed = len(report.baseline.false_alarms), gate.false_alarms or 0
    if alarms > allowed:
        names = ", ".join(dict.fromkeys(str(alarm.get("name", "")) for alarm in report.baseline.false_alarms))
        reasons.append(f"{alarms} false alarms on clean runs, {allowed} allowed: {names}")
    return reasons


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits, two at least, as it takes to tell them apart."""
    texts = ((f"{one:.{digits}f}", f"{other:.{digits}f}") for digits in range(2, 9))
    return next((pair for pair in texts if pair[0] != pair[1]), (str(one), str(other)))


def gravest(statuses: Iterable[int]) -> int:
    """Of several scenarios' statuses the one that counts."""
    found = set(statuses)
    return next(status for status in _GRAVEST_FIRST if status in found)


def exit_code(report: Report, gate: Demands) -> int:
    """The command's status for one report: 0 passed, 1 not, 3 a false alarm beyond those allowed, 4 inconclusive."""
    if len(report.baseline.false_alarms) > (gate.false_alarms or 0):
        return 3
    if any(reason.startswith("inconclusive") for reason in report.reasons):
        return 4
    return 0 if report.passed else 1
