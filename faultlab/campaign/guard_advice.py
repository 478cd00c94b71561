"""The alerts of the ready-made guards on each fault, with their false alarms and costs.

The driver's side. A guard's check counts as a detection if it is quiet on every clean run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import intern
from typing import Any

from faultlab.campaign import verdict
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.ranks import activity, as_one
from faultlab.core.results import Advisory, ExaminedRun, Outcome, RunResult

PACKAGE = "faultlab.guards"


@dataclass
class Advice:
    """The results of the ready-made guards in a campaign.

    Attributes:
        asked: The guards' settings; None if they do not watch.
        known: Summaries of known good runs.
        costs: Each guard's share of the training's time.
        arguments: The arguments of each guard's constructor.
        quiet_runs: The names of the clean runs that they watched.
        alarms: Their false alarms by guard and check, with the names of the runs.
        broken: Guards that raised an error themselves, with the error.
        idle: Guards that skipped every check on every clean run, with the reason.
        looks: How often each guard looked in all clean runs, if it counts that.
        detected: The detections by fault.
        rejected: Guards that raised a false alarm when their set was proven.
        disturbed: Why the guards do not watch after all.
        disturbed_reload: Why they do not watch runs that continue from their checkpoints.
    """

    asked: dict[str, Any] | None = None
    known: list[Any] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    quiet_runs: list[str] = field(default_factory=list)
    alarms: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    detected: dict[str, list[Detection]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    disturbed: str = ""
    disturbed_reload: str = ""

    def order_of(self, reload: bool) -> dict[str, Any] | None:
        """Return `order` for a run that continues from its checkpoints, or for one that does not."""
        return None if reload and self.disturbed_reload else self.order

    @property
    def order(self) -> dict[str, Any] | None:
        """The ``advice`` of an order for a run that the guards watch."""
        return None if self.disturbed else self.asked

    def learn(self, outcomes: Iterable[Outcome]) -> None:
        """Add clean runs: known good ones, false alarms, and costs as shares of the training's time."""
        shares: dict[str, list[float]] = {}
        for outcome in outcomes:
            if (run := outcome.run) is None or (said := run.advice) is None:
                continue
            if said.summary:
                self.known.append(said.summary)
            if said.watching:
                self.watched(outcome.id, outcome)
                rest = run.fit_seconds - sum(said.seconds.values())
                for guard, seconds in said.seconds.items():
                    shares.setdefault(guard, []).append(seconds / rest if rest > 0 else 0.0)
        self.costs.update({guard: round(statistics.median(found), 5) for guard, found in shares.items()})

    def watched(self, name: str, outcome: Outcome) -> None:
        """Add a run in which every alarm is a false one."""
        said = _said(outcome)
        if said.watching:
            known = self.idle if self.quiet_runs else said.idle
            # A run that is continued near its end may offer nothing to look at, nor a reason.
            idle = {who for who in known if who in said.idle or said.looks.get(who) == 0}
            self.idle = {who: why for who, why in known.items() if who in idle}
        for guard, times in said.looks.items():
            self.looks[guard] = self.looks.get(guard, 0) + times
        self.quiet_runs.append(name)
        self.broken.update(said.broken)
        self.arguments.update(said.arguments)
        for alarm in said.alarms:
            if alarm not in said.of_interruption:
                self.alarms.setdefault((alarm.name, alarm.reason), []).append(name)

    def reject(self, false_alarms: Iterable[Alert]) -> bool:
        """Exclude the guards that raised false alarms; return whether there was any."""
        found = {alarm.name for alarm in false_alarms if alarm.kind == "guard" and alarm.name in self.arguments}
        self.rejected |= found
        return bool(found)

    def note(self, fault: str, found: Iterable[Mapping[str, Any]]) -> None:
        """Add the detections of a fault from an earlier part of the same campaign, except known false alarms."""
        read = map(_read, found)
        self.detected[fault] = [seen for seen in read if (seen.name, seen.check) not in self.alarms]

    def judge(self, fault: str, mode: FailureMode, outcome: Outcome, clean: Sequence[Outcome] = ()) -> list[Detection]:
        """Return the detections of a fault, without alerts that also occur in ``clean`` runs of the same kind."""
        said, first = _said(outcome), activity(outcome)[1]
        if not outcome.runs or first is None:
            return []
        known = {(alarm.name, alarm.reason) for run in clean for alarm in _said(run).alarms} | set(self.alarms)
        found = [
            replace(verdict.detection(alarm, first, mode), name=intern(alarm.name), check=intern(alarm.reason))
            for alarm in said.alarms
            if alarm.step >= first and (alarm.name, alarm.reason) not in known
        ]
        self.broken.update(said.broken)
        self.detected[fault] = sorted(found, key=lambda seen: (seen.latency, not seen.names_cause, seen.name))
        return self.detected[fault]

    def firsts(self, fault: str) -> dict[str, Detection]:
        """Return the first detection of each guard that detects a fault, the quickest guard first."""
        found: dict[str, Detection] = {}
        for seen in self.detected.get(fault, ()):
            found.setdefault(seen.name, seen)
        return found

    def prescription(self, fault: str) -> list[Prescribed]:
        """Return the guards that detect a fault, the quickest first, with step and cost."""
        return [
            Prescribed(f"{PACKAGE}.{guard}", seen.step, self.costs.get(guard, 0.0))
            for guard, seen in self.firsts(fault).items()
        ]

    def construction(self, guard: str) -> dict[str, Any]:
        """Return the arguments of a guard's constructor; checks that raise false alarms here are left out."""
        arguments = self.arguments.get(guard, {})
        left_out = {check for name, check in self.alarms if name == guard}
        return (
            {**arguments, "leave_out": sorted(left_out.union(arguments.get("leave_out", ())))}
            if left_out
            else arguments
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of guards.json."""
        return {
            "quiet_runs": self.quiet_runs,
            "disturbed": self.disturbed,
            "disturbed_reload": self.disturbed_reload,
            "costs": self.costs,
            "arguments": self.arguments,
            "false_alarms": [
                {"guard": guard, "check": check, "runs": runs} for (guard, check), runs in sorted(self.alarms.items())
            ],
            "broken": self.broken,
            "idle": self.idle,
            "looks": self.looks,
            "detected": {fault: [written(seen) for seen in found] for fault, found in sorted(self.detected.items())},
        }


def written(seen: Detection) -> dict[str, Any]:
    """Return a ready-made guard's detection as in guards.json."""
    data = seen.to_json()
    rest = ("step", "latency", "names_cause", "message", "rank")
    return {"guard": seen.name, "check": seen.check, **{name: data[name] for name in rest if name in data}}


def _read(data: Mapping[str, Any]) -> Detection:
    rest = {name: value for name, value in data.items() if name != "guard"}
    return Detection("guard", data["guard"], **rest)


def _said(outcome: Outcome) -> Advisory:
    """Return the alerts of the guards on a run, of all ranks that reported; empty if they did not watch it."""
    ranks = [rank for rank, result in enumerate(outcome.results) if isinstance(result, (RunResult, ExaminedRun))]
    return (as_one(outcome.runs, ranks).advice if ranks else None) or Advisory()
