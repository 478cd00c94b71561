"""What nobody detected, told as lessons: silent failure modes with their faults, charts, remedies and replays."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.report import FaultResult, Report
from faultlab.report.html.charts import Chart, Curves

_DRAWN = 3
_CHOICES = 4
LISTED = 12
"""The most faults of a lesson that are each told of; what more there are is folded and told of as a whole."""


class Shown(NamedTuple):
    """A silent fault with its charts and the command that replays it; empty where the report can't say."""

    fault: FaultResult
    charts: list[Chart]
    replay: str


class Offer(NamedTuple):
    """A guard that would have detected so many of a lesson's faults, after so many steps, at that cost."""

    guard: str
    faults: int
    soonest: int
    latest: int
    cost: float | None


class Lesson(NamedTuple):
    """A silent failure mode with the faults of it that nobody detected, the worst first.

    ``paste`` is the code that adds the guards which would have detected.
    """

    mode: str
    described: FailureMode | None
    faults: list[Shown]
    paste: str

    @property
    def worst(self) -> FaultResult:
        return self.faults[0].fault

    @property
    def told(self) -> list[Shown]:
        """The worst faults, each of which is told of by itself."""
        return self.faults[:LISTED]

    @property
    def folded(self) -> list[Shown]:
        return self.faults[LISTED:]

    @property
    def offers(self) -> list[Offer]:
        """The guards that would have detected, the one that detects the most faults first."""
        found: dict[str, list[tuple[int, float | None]]] = {}
        for shown in self.faults:
            for entry in shown.fault.prescription:
                latency = max(entry.step - (shown.fault.first_step or 0), 0)
                found.setdefault(entry.guard, []).append((latency, entry.cost))
        offers = [
            Offer(guard, len(each), min(late for late, _ in each), max(late for late, _ in each), each[0][1])
            for guard, each in found.items()
        ]
        return sorted(offers, key=lambda offer: (-offer.faults, offer.latest, offer.guard))


def lessons(report: Report, described: Mapping[str, FailureMode], curves: Curves) -> list[Lesson]:
    """A lesson a silent failure mode, the worst first."""
    grouped: dict[str, list[FaultResult]] = {}
    for fault in report.silent():
        grouped.setdefault(fault.mode, []).append(fault)
    scenario = report.target.get("scenario", "")
    found = []
    for mode, faults in grouped.items():
        shown = [
            Shown(fault, curves.of(fault, described.get(mode)) if number < _DRAWN else [], replay(fault.id, scenario))
            for number, fault in enumerate(faults)
        ]
        found.append(Lesson(mode, described.get(mode), shown, _paste(faults)))
    return found


def replay(fault: str, scenario: str) -> str:
    """The command that runs the fault once more in the foreground."""
    return f"faultlab replay {shlex.quote(fault)} --scenario {shlex.quote(scenario)}" if scenario else ""


def choices(lesson: Lesson, others: Mapping[str, FailureMode]) -> list[tuple[str, FailureMode]]:
    """What a reader may take the fault for: the failure mode itself among others, always the same in the same order."""
    assert lesson.described is not None

    def place(mode: str) -> str:
        return hashlib.sha256(f"{lesson.mode} {mode}".encode()).hexdigest()

    # Of as many families as there are: near relatives tell themselves apart by their words alone.
    wrong: dict[str, str] = {}
    for mode in sorted(others, key=place):
        if others[mode].family != lesson.described.family:
            wrong.setdefault(others[mode].family, mode)
    offered = [lesson.mode, *sorted(wrong.values(), key=place)[: _CHOICES - 1]]
    return [(mode, others.get(mode, lesson.described)) for mode in sorted(offered, key=place)]


def _paste(faults: list[FaultResult]) -> str:
    """Python that adds, for each fault, the guard that detects it first."""
    guards = dict.fromkeys(fault.prescription[0].name for fault in faults if fault.prescription)
    if not guards:
        return ""
    made = ", ".join(f"{guard}()" for guard in guards)
    return f"from faultlab.guards import {', '.join(sorted(guards))}\n\nTrainer(callbacks=[{made}])"
