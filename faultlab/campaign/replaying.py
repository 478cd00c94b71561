"""The replay of one fault of a scenario, with a record of everything that can be observed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from faultlab.campaign import plan
from faultlab.campaign.campaign import Campaign, Listener, Options
from faultlab.campaign.clean_runs import SNAPSHOT_RUN
from faultlab.campaign.guard_advice import written
from faultlab.campaign.preparation import RELOADED, Findings, Preparation
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import FailureMode, matching
from faultlab.config.fault_patterns import parse_fault
from faultlab.config.scenario import Gate, Scenario
from faultlab.config.selection import Selection
from faultlab.core import atomic_write
from faultlab.core.detection import Detection
from faultlab.core.exit_status import in_words
from faultlab.core.fault import Fault
from faultlab.core.orders import Order
from faultlab.core.reason import texts
from faultlab.core.records import Records
from faultlab.core.report import Baseline, FaultResult, Status, dump
from faultlab.core.results import Outcome
from faultlab.core.run_folder import file_name
from faultlab.core.trajectory import Trajectory
from faultlab.engines import Engine
from faultlab.errors import TargetError, UsageError

FOLDER, REPLAY_FILE = "replays", "replay.json"
_MUTANT = re.compile(r"__mutmut_|\u01c1|^source\.")


class Audience(Listener, Protocol):
    """Receives the progress of a replay, and the run whose output comes next."""

    def showing(self, fault: str) -> None: ...


@dataclass(frozen=True)
class Signal:
    """An alert of a guard, a warning that the clean run does not have, or the exception that ended the run."""

    step: int
    who: str
    message: str


@dataclass
class Replayed:
    """The record of a replay. ``result`` is None without a fault, ``faulted`` if the run could not report.

    ``losses`` are (step, loss) pairs inside the trajectories; ``deadline`` is in seconds; ``advised`` has the alerts
    of ready-made guards, ``others`` further faults that the same text selects, ``problems`` the reasons why the
    verdict proves nothing.
    """

    fault: str
    baseline: Baseline
    clean: Trajectory
    result: FaultResult | None = None
    faulted: Trajectory | None = None
    ended: str = ""
    deadline: float = 0.0
    signals: Sequence[Signal] = ()
    advised: Sequence[Detection] = ()
    others: Sequence[str] = ()
    problems: Sequence[str] = ()
    interrupted: bool = False

    @property
    def ran(self) -> bool:
        """True if the fault acted, without which there is no verdict."""
        never = (Status.NOT_APPLICABLE, Status.NOT_ACTIVATED, Status.ERROR)
        return self.result is None or self.result.status not in never

    def to_json(self) -> dict[str, Any]:
        return {
            "fault": self.fault,
            "baseline": {
                **asdict(self.baseline),
                "false_alarms": [alarm.as_false_alarm() for alarm in self.baseline.false_alarms],
            },
            "result": self.result.to_json() if self.result else None,
            "ended": self.ended,
            "deadline": self.deadline,
            "signals": [asdict(signal) for signal in self.signals],
            "advised": [written(seen) for seen in self.advised],
            "others": list(self.others),
            "problems": list(self.problems),
            "clean": self.clean.to_json(),
            "faulted": self.faulted.to_json() if self.faulted else None,
        }


@dataclass
class Replay:
    """Replays one fault; ``echo`` is the file descriptor (1 or 2) for the runs' output, or 0 for none."""

    scenario: Scenario
    engine: Engine
    options: Options
    audience: Audience
    fault: Fault
    echo: int = 1
    findings: Findings | None = field(default=None, init=False)
    order: Order | None = field(default=None, init=False)
    _watched: _Watched | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        """The folder of the replay's records; the campaign's own are not changed."""
        return self.options.out / self.scenario.name / FOLDER / file_name(str(self.fault))

    def run(self) -> Replayed:
        """Run the campaigns; raise what a campaign raises."""
        options = replace(self.options, select=(), skip=(), out=self.folder.parent)
        named = {"name": self.folder.name, "gate": Gate()}
        asked_for = self.scenario.faults.model_copy(update={"select": [str(self.fault)], "ignore": [], "when": {}})
        self._watched = watched = _Watched(self.engine, self._shown)
        scenario = self.scenario.model_copy(update={**named, "faults": asked_for})
        campaign = Campaign(scenario, watched, options, self.audience, further=self._learn)
        report = campaign.run()
        if not report.faults:
            return Replayed(str(self.fault), report.baseline, Trajectory(), interrupted=True)
        result = next((fault for fault in report.faults if fault.seconds), report.faults[0])
        mode = index.modes()[result.mode]
        outcome = watched.outcomes.get(result.id)
        self.order = watched.orders.get(result.id)
        replayed = Replayed(
            result.id,
            report.baseline,
            self._clean(watched.outcomes, mode),
            result,
            others=[fault.id for fault in report.faults if fault.id != result.id],
            problems=texts(report.reasons),
            advised=campaign.advice.detected.get(result.id, ()),
            interrupted=campaign.interrupted,
        )
        if outcome is not None and self.order is not None:
            replayed.faulted = outcome.trajectory
            replayed.deadline = self.order.deadline
            replayed.ended = ending(outcome, self.order.deadline)
            replayed.signals = signals(outcome, result)
        atomic_write.write(self.folder / REPLAY_FILE, dump(replayed.to_json(), indent=1))
        return replayed

    def run_clean(self) -> Replayed:
        """Execute only the clean run; raise what a campaign raises."""
        self._watched = watched = _Watched(self.engine, self._shown)
        self.audience.started(self.scenario.name)
        try:
            watched.open(self.scenario.name, self.scenario.for_victims())
            records = Records(self.folder)
            preparation = Preparation(self.scenario, watched, records, self.options.seed, self.options.watch)
            self.findings = preparation.take(Selection(()))
        except TargetError as error:
            raise self.scenario.problem(error.where, error.message, error.remedy) from None
        self.audience.measured(self.findings.baseline)
        return Replayed("", self.findings.baseline, self.findings.twin.trajectory)

    def _learn(self, results: Mapping[Fault, FaultResult], findings: Findings) -> Sequence[Fault]:
        self.findings = findings
        return ()

    def _clean(self, outcomes: Mapping[str, Outcome], mode: FailureMode) -> Trajectory:
        snapshot_run = outcomes.get(SNAPSHOT_RUN) if self._differs() else None
        compared = outcomes.get(RELOADED) if mode.judged_by == "reload" else snapshot_run
        found = compared.trajectory if compared else None
        return found or outcomes[f"clean-{self.options.seed}"].trajectory or Trajectory()

    def _shown(self, order: Order) -> Order:
        """Return the order of a run that the user watches, made to begin at construction; any other unchanged."""
        clean = order.id in (f"clean-{self.options.seed}", RELOADED)
        fault = str(order.training.fault or "") if order.training else ""
        if not clean and (order.id != fault or _without_flags(order)):
            return order
        if self.echo:
            self.audience.showing(fault)
        # A fork of the clean run would begin at its step, without the output before it.
        return replace(order, at=order.at if self._differs() else "construct", echo=self.echo)

    def _differs(self) -> bool:
        """Return True if clean runs of the seed differ, so that only a fork has a clean run to compare with."""
        outcomes = self._watched.outcomes if self._watched is not None else {}
        runs = [outcomes[id].trajectory for id in (f"clean-{self.options.seed}", f"clean-{self.options.seed}-again")
                if id in outcomes]  # fmt: skip
        one, other = runs if len(runs) == 2 else (None, None)
        return one is not None and other is not None and not one.same_as(other)


class _Watched:
    """An engine that adapts orders and records orders and outcomes; see `faultlab.engines`."""

    def __init__(self, engine: Engine, shown: Any) -> None:
        self.capabilities = engine.capabilities
        self.jobs = engine.jobs
        self.alone = engine.alone
        self.orders: dict[str, Order] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._engine = engine
        self._shown = shown

    @property
    def root(self) -> str:
        return self._engine.root

    @property
    def ranks(self) -> int:
        return self._engine.ranks

    def keep_warm(self) -> None:
        self._engine.keep_warm()

    def preload(self, package: str) -> None:
        self._engine.preload(package)

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        self._engine.open(name, scenario)

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        shown = [self._shown(order) for order in orders]
        repeated = {order.id for order in shown if _without_flags(order)}
        self.orders.update({order.id: order for order in shown if order.id not in repeated})
        for outcome in self._engine.run(shown):
            if outcome.id not in repeated:
                self.outcomes[outcome.id] = outcome
            yield outcome

    def close(self) -> None:
        self._engine.close()


def _without_flags(order: Order) -> bool:
    """Return True if it repeats a faulted run that a Trainer flag ended, for the guards after that flag."""
    return order.training is not None and not order.training.flags


def fault_of(text: str, scenario: Scenario) -> Fault:
    """Return the fault that a text selects: a whole fault, a failure mode's id, or a glob that matches one.

    Raise UsageError if it selects none or several.
    """
    if _MUTANT.search(text):
        raise UsageError(
            f"{text!r} is a source mutant, not a failure mode; `faultlab mutate {scenario.file}` judges mutants, "
            "and its report shows the changed lines of each"
        )
    modes = index.modes()
    if text not in modes and not any(mark in text for mark in ":@") and (found := matching(text, modes)):
        if len(found) > 1:
            few = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
            raise UsageError(f"{text!r} matches {len(found)} failure modes and a replay runs one; name one of {few}")
        text = found[0]
    fault = parse_fault(text)
    return plan.selected(Selection((fault,), when=scenario.faults.when), modes)[0]


def ending(outcome: Outcome, deadline: float) -> str:
    """Return the end of a run in words."""
    run, trajectory = outcome.run, outcome.trajectory
    if outcome.timed_out:
        return f"it was still running at its deadline of {deadline:.3g} s, and was ended"
    if run is None or trajectory is None:
        return f"its process {in_words(outcome.exit)}"
    if trajectory.end == "exited":
        return f"it exits with status {trajectory.exit_code} after {trajectory.steps} steps"
    if trajectory.end == "raised":
        message = run.alerts[-1].message.partition("\n")[0] if run.alerts else "an exception"
        return f"it raised {message} after {trajectory.steps} steps"
    return f"it trained to its end: {trajectory.steps} steps, {trajectory.epochs} epochs"


def signals(outcome: Outcome, result: FaultResult) -> list[Signal]:
    """Return the alerts that count for the verdict, in the order of the steps."""
    spoken = [Signal(one.step, f"{one.kind} {one.name}", one.message) for one in result.detected_by]
    warned = {shown.text: shown.step for run in outcome.runs for shown in run.warnings}
    spoken += [Signal(warned.get(text, 0), "warning", text) for text in result.warnings]
    return sorted(spoken, key=lambda signal: signal.step)


def thinned(replayed: Replayed, most: int = 18) -> list[tuple[int, float | None, float | None]]:
    """Return (step, clean loss, faulted loss) for the steps with an event and some in between."""
    clean, faulted = dict(replayed.clean.losses), dict(replayed.faulted.losses if replayed.faulted else ())
    steps = sorted({*clean, *faulted})
    first = replayed.result.first_step if replayed.result else None
    happened = {signal.step for signal in replayed.signals} | ({first - 1, first, first + 1} if first else {0})
    every = max(1, -(-len(steps) // max(1, most - len(happened))))
    shown = {*steps[::every], *steps[-1:]} | (happened & set(steps))
    return [(step, clean.get(step), faulted.get(step)) for step in sorted(shown)]
