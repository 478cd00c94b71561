"""The remedy: the ready-made guards that detect most of the silent faults, chosen from a report's prescriptions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from faultlab.catalogue.guard_index import RECORD
from faultlab.core.comparison import UNDETECTED
from faultlab.core.detection import Prescribed
from faultlab.core.report import FaultResult, Report, Status
from faultlab.core.run_folder import ADVICE_FILE

FEW = 3
"""The number of guards that the remedy begins with; the others that detect anything more follow."""
_OF_METRICS = ("metric", "mode")
"""The arguments of guards that look at a metric."""
_LINE = 88
_LOOPS = "torch"
"""The framework of training loops without a Trainer, or with one of another package."""
_HF = "transformers"
"""The package whose Trainer may run such a loop."""


class Added(NamedTuple):
    """A guard of the remedy.

    ``faults`` counts the silent faults that it detects and no guard before it does, ``harmful`` the harmful ones of
    them; ``coverage`` is the ratio with it and those before it; ``cost`` is a share of the training's time.
    """

    guard: str
    faults: int
    harmful: int
    coverage: float | None
    cost: float | None


@dataclass(frozen=True)
class Remedy:
    """Guards, each the one that detects most of what those before it miss.

    ``few`` are the first of them and ``code`` is the Python that adds those, ``all_code`` the Python that adds all.
    ``recorded`` counts the silent faults that only the guards ``recorders`` detect, which compare with recorded runs
    and so need more than a line of Python; ``beyond`` those that no ready-made guard detects.
    """

    before: float | None
    silent: int
    added: Sequence[Added]
    beyond: int
    code: str
    all_code: str
    recorded: int = 0
    recorders: Sequence[str] = ()

    @property
    def few(self) -> Sequence[Added]:
        return self.added[:FEW]


def remedy(report: Report, constructed: Mapping[str, Mapping[str, Any]]) -> Remedy | None:
    """Return the guards to add to the user's own, or None if no ready-made guard detects a silent fault.

    The set is greedy: each guard is the one that detects most of the silent faults that those before it miss.
    ``constructed`` has the arguments of guards.
    """
    silent = report.silent()
    left = {fault.id: {entry.name for entry in _pasteable(fault, constructed)} for fault in silent}
    harmful = {fault.id for fault in silent if fault.harmful}
    costs = {entry.name: entry.cost for fault in silent for entry in fault.prescription}
    added: list[Added] = []
    while guard := _next(left, harmful, costs):
        found = {fault for fault, guards in left.items() if guard in guards}
        left = {fault: guards for fault, guards in left.items() if fault not in found}
        names = {*(one.guard for one in added), guard}
        added.append(Added(guard, len(found), len(found & harmful), _coverage(report, names), costs[guard]))
    if not added:
        return None
    names_in_order = [one.guard for one in added]
    few, every = (code(names, constructed, trained_by(report)) for names in (names_in_order[:FEW], names_in_order))
    offered = {fault.id: [entry.name for entry in fault.prescription] for fault in silent if fault.id in left}
    recorders = sorted({name for names in offered.values() for name in names})
    recorded = sum(map(bool, offered.values()))
    return Remedy(report.ratio, len(silent), added, len(left) - recorded, few, every, recorded, recorders)


def trained_by(report: Report) -> str:
    """Return the framework of a report's target, or the package whose Trainer runs its loop."""
    framework = str(report.target.get("framework", ""))
    return _HF if framework == _LOOPS and _HF in report.versions else framework


def arguments(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the arguments that each ready-made guard is constructed with, without the checks that raise false alarms.

    Empty if the run folder has no record of them.
    """
    try:
        found = json.loads((folder / ADVICE_FILE).read_text(encoding="utf-8"))
        given = {guard: dict(some) for guard, some in found["arguments"].items()}
        for alarm in found["false_alarms"]:
            some = given.setdefault(alarm["guard"], {})
            some["leave_out"] = sorted({*some.get("leave_out", ()), alarm["check"]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return given


def quickest(fault: FaultResult, constructed: Mapping[str, Mapping[str, Any]]) -> Prescribed | None:
    """Return the first guard that detects a fault, of those that a line of Python can add."""
    return next(iter(_pasteable(fault, constructed)), None)


def _pasteable(fault: FaultResult, constructed: Mapping[str, Mapping[str, Any]]) -> list[Prescribed]:
    return [
        entry
        for entry in fault.prescription
        if entry.name.isidentifier() and RECORD not in constructed.get(entry.name, ())
    ]


def code(guards: Sequence[str], constructed: Mapping[str, Mapping[str, Any]], by: str = "") -> str:
    """Return the Python that adds the guards to a Trainer, or to a loop; ``by`` is what `trained_by` returns."""
    given = {guard: constructed.get(guard, {}) for guard in guards}
    if by == _LOOPS:
        return watching_code(given)
    calls = _calls(given)
    head, tail = ("Trainer(..., callbacks=[hf([", "])])") if by == _HF else ("Trainer(callbacks=[", "])")
    flat = f"{head}{', '.join(calls)}{tail}"
    if len(flat) > _LINE:
        flat = f"{head}\n" + "".join(f"    {call},\n" for call in calls) + tail
    return f"{_imported([*sorted(given), *(['hf'] if by == _HF else [])])}\n\n{flat}"


def watching_code(given: Mapping[str, Mapping[str, Any]], notes: Mapping[str, str] | None = None) -> str:
    """Return the Python that lets guards watch a loop, with the names that most loops use.

    ``given`` has the arguments of each guard, ``notes`` a comment for each.
    """
    calls, notes = _calls({guard: without_metrics(some) for guard, some in given.items()}), notes or {}
    head, tail = "with watch(model, optimizer, loader=loader, validation=validation, guards=[", "]) as watching:"
    flat = f"{head}{', '.join(calls)}{tail}"
    if notes or len(flat) > _LINE:
        comments = [f"  # {notes[guard]}" if guard in notes else "" for guard in given]
        flat = head + "\n" + "".join(f"    {call},{note}\n" for call, note in zip(calls, comments)) + tail
    lines = [f"{_imported([*sorted(given), 'watch'])}\n", flat, "    ...  # the training loop"]
    return "\n".join([*lines, "print(watching.report())  # what the guards could not look at, and why"])


def without_metrics(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without those that name a metric: a loop shows none that its guards could look at."""
    return {name: value for name, value in arguments.items() if name not in _OF_METRICS}


def _calls(given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{guard}({', '.join(f'{name}={value!r}' for name, value in _needed(some).items())})"
        for guard, some in given.items()
    ]


def _needed(some: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments without those of a metric that is not known."""
    return {} if some.get("metric") == "" and some.keys() <= {"metric", "mode"} else some


def _imported(names: Sequence[str]) -> str:
    flat = f"from faultlab.guards import {', '.join(names)}"
    if len(flat) > _LINE:
        flat = "from faultlab.guards import (\n" + "".join(f"    {name},\n" for name in names) + ")"
    return flat


def _next(
    left: Mapping[str, Collection[str]], harmful: Collection[str], costs: Mapping[str, float | None]
) -> str | None:
    """Return the guard that detects most faults; among equals the one for more harmful faults, then the cheapest."""
    found: dict[str, list[str]] = {}
    for fault, guards in left.items():
        for guard in guards:
            found.setdefault(guard, []).append(fault)

    def rank(guard: str) -> tuple[int, int, float, str]:
        faults = found[guard]
        return -len(faults), -sum(fault in harmful for fault in faults), costs[guard] or 0.0, guard

    return min(found, key=rank, default=None)


def _coverage(report: Report, guards: Collection[str]) -> float | None:
    def judged(fault: FaultResult) -> FaultResult:
        helped = fault.status in UNDETECTED and any(entry.name in guards for entry in fault.prescription)
        return replace(fault, status=Status.DETECTED) if helped else fault

    return replace(report, faults=[judged(fault) for fault in report.faults]).ratio
