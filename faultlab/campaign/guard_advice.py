"""What the ready-made guards said of each fault, and what their word is worth: their false alarms and their costs.

The driver's side. A guard's check counts for a fault if it is quiet on every clean run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from sys import intern
from typing import Any

from faultlab.campaign import verdict
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.notice import Notice
from faultlab.core.orders import Outcome

PACKAGE = "faultlab.guards"


@dataclass(frozen=True, slots=True)
class Advised:
    """A ready-made guard's notice of one fault: by which of its checks, at which step, how many after the first act."""

    guard: str
    check: str
    step: int
    latency: int
    names_cause: bool
    message: str


@dataclass
class Advice:
    """What a campaign learns of the ready-made guards.

    ``asked`` is what the guards are told, None where they are not to watch, ``disturbed`` why they are not to after
    all, ``disturbed_reload`` why not in runs that go on from their checkpoints. ``known`` holds the summaries of known
    good runs, ``costs`` each guard's share of the training's time,
    ``arguments`` what each is constructed with. ``quiet_runs`` names the clean runs that they watched, ``alarms`` their
    false alarms by guard and check, with the names of the runs. ``broken`` are guards that failed themselves, with
    their errors, ``idle`` those that left out every look at every clean run, and why. ``noticed`` is by fault.
    """

    asked: dict[str, Any] | None = None
    known: list[Any] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    quiet_runs: list[str] = field(default_factory=list)
    alarms: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    noticed: dict[str, list[Advised]] = field(default_factory=dict)
    disturbed: str = ""
    disturbed_reload: str = ""

    def order_of(self, reload: bool) -> dict[str, Any] | None:
        """The same for a run that goes on from its checkpoints, or for one that does not."""
        return None if reload and self.disturbed_reload else self.order

    @property
    def order(self) -> dict[str, Any] | None:
        """What an order's ``advice`` is for a run that the guards are to watch."""
        return None if self.disturbed else self.asked

    def learn(self, outcomes: Iterable[Outcome]) -> None:
        """Adds clean runs: good ones to know, false alarms, costs in shares of the time that training takes."""
        shares: dict[str, list[float]] = {}
        for outcome in outcomes:
            said = (outcome.result or {}).get("advice")
            if said is None:
                continue
            if said["summary"]:
                self.known.append(said["summary"])
            if said["watching"]:
                self.watched(outcome.id, outcome)
                rest = outcome.result["fit_seconds"] - sum(said["seconds"].values())  # type: ignore[index]
                for guard, seconds in said["seconds"].items():
                    shares.setdefault(guard, []).append(seconds / rest if rest > 0 else 0.0)
        self.costs.update({guard: round(statistics.median(found), 5) for guard, found in shares.items()})

    def watched(self, name: str, outcome: Outcome) -> None:
        """Adds a run in which every alarm is a false one."""
        said = (outcome.result or {}).get("advice") or {}
        if said:
            idle = said.get("idle", {})
            self.idle = {guard: why for guard, why in idle.items() if guard in self.idle or not self.quiet_runs}
        self.quiet_runs.append(name)
        self.broken.update(said.get("broken", {}))
        self.arguments.update(said.get("arguments", {}))
        interruption = [Notice.from_json(alarm) for alarm in said.get("of_interruption", [])]
        for alarm in _alarms(outcome):
            if alarm not in interruption:
                self.alarms.setdefault((alarm.name, alarm.reason), []).append(name)

    def note(self, fault: str, found: Iterable[Mapping[str, Any]]) -> None:
        """Takes over what an earlier part of the same campaign has noticed of a fault."""
        self.noticed[fault] = [Advised(**seen) for seen in found]

    def judge(self, fault: str, mode: FailureMode, outcome: Outcome, clean: Sequence[Outcome] = ()) -> list[Advised]:
        """What the guards noticed of a fault, but for what they say in ``clean`` runs that went the same way."""
        result = outcome.result or {}
        said = result.get("advice") or {}
        first = result.get("first_step")
        if first is None:
            return []
        known = {(alarm.name, alarm.reason) for run in clean for alarm in _alarms(run)} | set(self.alarms)
        found = [
            Advised(intern(alarm.name), intern(alarm.reason), alarm.step, seen.latency, seen.names_cause, alarm.message)
            for alarm in _alarms(outcome)
            if alarm.step >= first and (alarm.name, alarm.reason) not in known
            for seen in [verdict.detection(alarm, first, mode)]
        ]
        self.broken.update(said.get("broken", {}))
        self.noticed[fault] = sorted(found, key=lambda seen: (seen.latency, not seen.names_cause, seen.guard))
        return self.noticed[fault]

    def firsts(self, fault: str) -> dict[str, Advised]:
        """What each guard that notices a fault noticed first, the quickest guard first."""
        found: dict[str, Advised] = {}
        for seen in self.noticed.get(fault, ()):
            found.setdefault(seen.guard, seen)
        return found

    def prescription(self, fault: str) -> list[dict[str, Any]]:
        """The guards that notice a fault, the quickest first: guard, step and cost."""
        return [
            {"guard": f"{PACKAGE}.{guard}", "step": seen.step, "cost": self.costs.get(guard, 0.0)}
            for guard, seen in self.firsts(fault).items()
        ]

    def construction(self, guard: str) -> dict[str, Any]:
        """The arguments to construct a guard with, those of its checks left out that raise false alarms here."""
        arguments = self.arguments.get(guard, {})
        left_out = {check for name, check in self.alarms if name == guard}
        return (
            {**arguments, "leave_out": sorted(left_out.union(arguments.get("leave_out", ())))}
            if left_out
            else arguments
        )

    def to_json(self) -> dict[str, Any]:
        """The content of guards.json."""
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
            "noticed": {fault: [asdict(seen) for seen in found] for fault, found in sorted(self.noticed.items())},
        }


def _alarms(outcome: Outcome) -> list[Notice]:
    said = (outcome.result or {}).get("advice") or {}
    return [Notice.from_json(alarm) for alarm in said.get("alarms", [])]
