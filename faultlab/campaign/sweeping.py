"""Sweeps of one failure mode over its dose and its step: the limits of each detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from faultlab.campaign.bisection import Scale, first_parts, next_parts, next_steps
from faultlab.campaign.campaign import Campaign, Listener, Options
from faultlab.campaign.preparation import Findings
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import Dose, FailureMode
from faultlab.config.fault_patterns import parse_fault
from faultlab.config.scenario import Scenario
from faultlab.core.detection import Detection
from faultlab.core.fault import Fault, Trigger
from faultlab.core.report import FaultResult, Report, Status
from faultlab.engines import Engine
from faultlab.errors import UsageError

SWEEP_FILE = "sweep.json"
_ROUNDS = 6
_EARNED = (Status.DETECTED, Status.WARNED, Status.SILENT, Status.NO_EFFECT)


@dataclass(frozen=True)
class Point:
    """One fault of a sweep: ``place`` is its place on the dose's scale or its step, ``value`` the dose or the step.

    ``detected`` has step and latency by detector; ``metric`` is the faulted run's value of the measure of harm.
    """

    fault: str
    place: float
    value: float
    status: str
    harmful: bool
    metric: float | None
    detected: Mapping[str, tuple[int, int]]


@dataclass
class Sweep:
    """A sweep of one failure mode of a scenario; ``run`` returns the campaign's report and fills in the points."""

    scenario: Scenario
    engine: Engine
    options: Options
    listener: Listener
    mode: FailureMode
    dose: Dose | None
    doses: list[Point] = field(default_factory=list)
    steps: list[Point] = field(default_factory=list)
    interrupted: bool = False
    _places: dict[Fault, tuple[str, float, float]] = field(default_factory=dict)
    _rounds: int = 0

    def run(self) -> Report:
        """Run the campaigns; raise what a campaign raises."""
        first = [str(self._dosed(part)) for part in first_parts()] if self.dose else [self.mode.id]
        # Under its own name, to preserve the scenario's report.
        folder = self.options.out / self.scenario.name / "sweeps"
        options = replace(self.options, select=(), skip=(), out=folder)
        faults = self.scenario.faults.model_copy(update={"select": list(dict.fromkeys(first))})
        scenario = self.scenario.model_copy(update={"name": self.mode.id, "tests": [], "faults": faults})
        campaign = Campaign(scenario, self.engine, options, self.listener, further=self._further)
        report = campaign.run()
        self.interrupted = campaign.interrupted
        self._collect(campaign.judged, campaign.advice.detected)
        return report

    def _further(self, results: Mapping[Fault, FaultResult], findings: Findings) -> Sequence[Fault]:
        self._collect(results, findings.advice.detected)
        self._rounds += 1
        if self._rounds > _ROUNDS:
            return ()
        asked = self._wanted_steps(results, findings.profile.steps)
        if self.dose:
            asked += [self._dosed(part) for part in next_parts({point.place: point.detected for point in self.doses})]
        return [fault for fault in dict.fromkeys(asked) if fault not in results]

    def _wanted_steps(self, results: Mapping[Fault, FaultResult], steps: int) -> list[Fault]:
        if "train" not in self.mode.stages or any(r.status not in _EARNED for r in results.values()):
            return []
        tried = {int(point.value): point.detected for point in self.steps}
        wanted = next_steps(tried) if tried else sorted({0, steps // 4, steps // 2, 3 * steps // 4, steps - 1})
        return [self._at(step) for step in wanted]

    def _dosed(self, part: float) -> Fault:
        assert self.dose is not None
        value = Scale.of(self.dose).value(part)
        fault = Fault(self.mode.id, {self.dose.name: value})
        self._places.setdefault(fault, ("dose", part, value))
        return fault

    def _at(self, step: int) -> Fault:
        fault = Fault(self.mode.id, {}, Trigger("step", step))
        self._places[fault] = ("step", step, step)
        return fault

    def _collect(self, results: Mapping[Fault, FaultResult], advised: Mapping[str, Sequence[Detection]]) -> None:
        found: dict[str, dict[float, Point]] = {"dose": {}, "step": {}}
        for fault, (axis, place, value) in self._places.items():
            result = next((result for planned, result in results.items() if _same(planned, fault)), None)
            if result is None or result.status not in _EARNED:
                continue
            detected: dict[str, tuple[int, int]] = {}
            for seen in result.detected_by:
                detected.setdefault(":".join(filter(None, seen.who)), (seen.step, seen.latency))
            for one in advised.get(result.id, ()):
                detected.setdefault(one.name, (one.step, one.latency))
            harm = result.harm
            found[axis][place] = Point(
                result.id,
                place,
                value,
                result.status.value,
                result.harmful,
                harm.faulty if harm else None,
                detected,
            )
        self.doses = [found["dose"][place] for place in sorted(found["dose"])]
        self.steps = [found["step"][place] for place in sorted(found["step"])]

    def to_json(self, report: Report) -> dict[str, Any]:
        """Return the content of sweep.json."""
        clean = next((f.harm for f in report.faults if f.harm is not None), None)
        return {
            "mode": self.mode.id,
            "dose": self.dose.name if self.dose else None,
            "default": self.dose.default if self.dose else None,
            "metric": clean.metric if clean else "",
            "clean": clean.clean if clean else None,
            "doses": [_plain(point) for point in self.doses],
            "steps": [_plain(point) for point in self.steps],
            "detectors": self.detectors(),
        }

    def detectors(self) -> dict[str, dict[str, Any]]:
        """Return for each detector the smallest dose detected, the largest smaller dose missed, and its steps.

        ``first_detection`` and ``last_detection`` are the steps at which it detected any dose, ``first_step`` and
        ``last_step`` those at which it detects a one-step fault.
        """
        names = sorted({name for point in [*self.doses, *self.steps] for name in point.detected})
        found: dict[str, dict[str, Any]] = {}
        for name in names:
            seen = [point for point in self.doses if name in point.detected]
            missed = [point for point in self.doses if seen and point.place < seen[0].place]
            at = [point for point in self.steps if name in point.detected]
            alerts = [point.detected[name][0] for point in seen or at]
            found[name] = {
                "smallest": seen[0].value if seen else None,
                "largest_missed": missed[-1].value if missed else None,
                "first_detection": min(alerts),
                "last_detection": max(alerts),
                "first_step": int(at[0].value) if at else None,
                "last_step": int(at[-1].value) if at else None,
            }
        return found


def dose_of(mode: FailureMode, name: str) -> Dose | None:
    """Return the dose of that name, or the first numeric one; raise UsageError if there is none."""
    numbers = [dose for dose in mode.doses if not isinstance(dose.default, str)]
    if not name:
        return numbers[0] if numbers else None
    for dose in numbers:
        if dose.name == name:
            return dose
    have = ", ".join(dose.name for dose in numbers) or "none"
    raise UsageError(f"{mode.id} has no dose {name!r} that is a number; it has {have}")


def mode_of(text: str) -> FailureMode:
    """Return the failure mode with that id; raise UsageError if it is unknown."""
    fault = parse_fault(text)
    if fault.dose or fault.trigger:
        raise UsageError(f"{text}: a sweep finds doses and steps itself; name the failure mode alone, {fault.mode}")
    return index.modes()[fault.mode]


def _same(planned: Fault, asked: Fault) -> bool:
    """Return True if a fault of the plan, whose trigger is explicit, is the requested one."""
    alike = planned.mode == asked.mode and dict(planned.dose) == dict(asked.dose)
    return alike and asked.trigger in (None, planned.trigger)


def _plain(point: Point) -> dict[str, Any]:
    detected = {name: {"step": step, "latency": latency} for name, (step, latency) in point.detected.items()}
    return {**vars(point), "detected": detected}
