"""The lessons: silent failure modes with their faults, charts, remedies and replay commands."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.framework_names import DEFAULT
from faultlab.core.report import FaultResult, Report
from faultlab.report.described import in_loop
from faultlab.report.html.charts import Chart, Curves
from faultlab.report.remedy import code, quickest, trained_by

_CHOICES = 4
_CANDIDATES = 5
"""The number of lessons of a common symptom that are candidates for its picture."""
_DRAWN = 40
"""The most lessons of a page that have a picture: those of the worst faults."""
LISTED = 12
"""The most faults of a lesson that each have a line of their own; the others are folded and counted."""
_FEWEST_ALIKE = 3


class Shown(NamedTuple):
    """A silent fault with its charts and the command that replays it; empty if the report lacks them."""

    fault: FaultResult
    charts: list[Chart]
    replay: str


class Offer(NamedTuple):
    """A ready-made guard that detects this many of a lesson's faults, within this range of steps, at this cost."""

    guard: str
    faults: int
    soonest: int
    latest: int
    cost: float | None

    @property
    def name(self) -> str:
        """The class's own name."""
        return self.guard.rpartition(".")[2]


class Lesson(NamedTuple):
    """A silent failure mode with its undetected faults, the worst first.

    ``paste`` is the Python that adds the guards which detect them. ``place`` is the file and line of the user's method
    that the failure mode acts on and ``line`` the text of that line; both are empty if they are unknown. ``in_loop`` is
    the declared effect in a plain PyTorch loop; empty if the target is another.
    """

    mode: str
    described: FailureMode | None
    faults: list[Shown]
    paste: str
    place: str = ""
    line: str = ""
    in_loop: str = ""

    @property
    def worst(self) -> FaultResult:
        return self.faults[0].fault

    @property
    def listed(self) -> list[Shown]:
        """The worst faults, which have a line each."""
        return self.faults[:LISTED]

    @property
    def folded(self) -> list[Shown]:
        return self.faults[LISTED:]

    @property
    def symptom(self) -> str:
        """The effect in words that other faults share; empty if the effect is a number of its own."""
        return symptom(self.worst, self.described)

    @property
    def offers(self) -> list[Offer]:
        """The guards that detect its faults, the one that detects most of them first."""
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


class Group(NamedTuple):
    """Lessons of one symptom; ``symptom`` is empty for those that have figures of their own."""

    symptom: str
    lessons: list[Lesson]

    @property
    def picture(self) -> Lesson:
        """The lesson whose charts stand for the group: one that shows a value that is not finite, if there is one."""
        drawn = [one for one in self.lessons if one.faults[0].charts]
        broken = [one for one in drawn if any(chart.broken for chart in one.faults[0].charts)]
        return [*broken, *drawn, *self.lessons][0]


def lessons(
    report: Report,
    described: Mapping[str, FailureMode],
    curves: Curves,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    every_chart: bool = False,
) -> list[Lesson]:
    """Return a lesson for each silent failure mode, the worst first; only with ``every_chart`` do all have charts.

    ``arguments`` are those that ready-made guards are constructed with.
    """
    grouped: dict[str, list[FaultResult]] = {}
    for fault in report.silent():
        grouped.setdefault(fault.mode, []).append(fault)
    scenario = report.target.get("scenario", "")
    found, alike = [], dict[str, int]()
    for mode, faults in grouped.items():
        known = described.get(mode)
        measurable = faults[0].harmful or bool(faults[0].harm_unknown) or faults[0].harm is None
        common = symptom(faults[0], known)
        alike[common] = alike.get(common, 0) + 1
        drawn = every_chart or (measurable and alike[common] <= (_CANDIDATES if common else _DRAWN))
        shown = [
            Shown(fault, curves.of(fault, known) if drawn and number == 0 else [], replay(fault.id, scenario))
            for number, fault in enumerate(faults)
        ]
        place, line = _source(report.target, known)
        pasted = _paste(faults, arguments or {}, trained_by(report))
        found.append(Lesson(mode, known, shown, pasted, place, line, _in_loop(report, known)))
    return found


def by_symptom(found: Iterable[Lesson]) -> list[Group]:
    """Return groups of lessons, in their order: a group for each common symptom, the others between these."""
    grouped: dict[str, list[Lesson]] = {}
    for one in found:
        grouped.setdefault(one.symptom, []).append(one)
    groups: list[Group] = []
    for name, some in grouped.items():
        shared = name if len(some) >= _FEWEST_ALIKE else ""
        if groups and not shared and not groups[-1].symptom:
            groups[-1].lessons.extend(some)
        else:
            groups.append(Group(shared, some))
    return groups


def symptom(fault: FaultResult, mode: FailureMode | None) -> str:
    """Return a fault's effect in words that other faults share; empty if its effect is a number of its own."""
    reported = mode is not None and mode.judged_by == "report"
    return fault.symptom.replace("is no longer finite", "is reported as no number") if reported else fault.symptom


def replay(fault: str, scenario: str) -> str:
    """Return the command that runs the fault again in the foreground; empty without a scenario's file."""
    return f"faultlab replay {shlex.quote(fault)} --scenario {shlex.quote(scenario)}" if scenario else ""


def replay_options(report: Report) -> str:
    """Return what follows the fault in the command that runs it again; empty without a scenario's file."""
    scenario = str(report.target.get("scenario", ""))
    return f"--scenario {shlex.quote(scenario)}" if scenario else ""


def choices(lesson: Lesson, others: Mapping[str, FailureMode]) -> list[tuple[str, FailureMode]]:
    """Return the failure modes that a reader may guess, the right one among them, always the same in the same order."""
    assert lesson.described is not None

    def place(mode: str) -> str:
        return hashlib.sha256(f"{lesson.mode} {mode}".encode()).hexdigest()

    # One of each family: modes of one family have similar curves.
    wrong: dict[str, str] = {}
    for mode in sorted(others, key=place):
        if others[mode].family != lesson.described.family:
            wrong.setdefault(others[mode].family, mode)
    offered = [lesson.mode, *sorted(wrong.values(), key=place)[: _CHOICES - 1]]
    return [(mode, others.get(mode, lesson.described)) for mode in sorted(offered, key=place)]


def _paste(faults: list[FaultResult], arguments: Mapping[str, Mapping[str, Any]], by: str) -> str:
    """Return Python that adds, for each fault, the guard that detects it first."""
    guards = list(dict.fromkeys(entry.name for fault in faults if (entry := quickest(fault, arguments))))
    return code(guards, arguments, by) if guards else ""


def framework_of(report: Report) -> str:
    """Return the framework of the report's scenario."""
    return str(report.target.get("framework", DEFAULT))


def _in_loop(report: Report, mode: FailureMode | None) -> str:
    return in_loop(mode) if mode is not None and framework_of(report) == "torch" else ""


def _source(target: Mapping[str, Any], mode: FailureMode | None) -> tuple[str, str]:
    method = mode.method if mode is not None else ""
    if method not in target.get("methods", {}) or not target.get("file"):
        return "", ""
    return f"{target['file']}:{target['methods'][method]}", target.get("code", {}).get(method, "")
