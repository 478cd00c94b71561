"""What comes before the first fault: the clean runs, what they teach, and the plan. The driver's side."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from faultlab import index
from faultlab.catalogue import FailureMode
from faultlab.detectors.notice import Notice, is_alarm
from faultlab.engines import Engine, TargetBrokenError
from faultlab.engines.protocol import Order, Outcome
from faultlab.errors import BaselineError, UsageError
from faultlab.harness import plan, verdict
from faultlab.harness.advice import PACKAGE, Advice
from faultlab.harness.plan import Planned, Selection
from faultlab.harness.records import Records
from faultlab.harness.trajectory import Trajectory
from faultlab.harness.verdict import Twin
from faultlab.recon import Recon
from faultlab.results import Baseline
from faultlab.scenario import Scenario
from faultlab.variation import VARIATIONS

DEADLINE = 900.0
RELOADED = "clean-reloaded"
_FACTOR, _FLOOR = 10.0, 10.0
_HANG_FACTOR, _HANG_FLOOR = 3.0, 3.0


@dataclass(frozen=True)
class Watch:
    """How long the ready-made guards watch healthy training before they are asked about a fault.

    ``known`` seeds are recorded as known good, three at least, on ``quiet`` other ones nobody may raise an alarm, and
    with ``varied`` neither on harmless variations of the target.
    """

    known: int = 3
    quiet: int = 2
    varied: bool = False


@dataclass
class Findings:
    """What the clean runs taught; ``reloaded`` is the twin of runs that go on from their checkpoints."""

    baseline: Baseline
    twin: Twin
    recon: Recon
    sources: str
    versions: Mapping[str, str]
    reloaded: Twin | None = None
    advice: Advice = field(default_factory=Advice)
    reloads: Sequence[Outcome] = ()


@dataclass(frozen=True)
class Preparation:
    """Takes the clean runs of one scenario, whose engine is open, and has the plan made.

    Where asked to ``watch``, the ready-made guards do: they get to know healthy runs, and their false alarms are counted.
    """

    scenario: Scenario
    engine: Engine
    records: Records
    seed: int
    watch: Watch | None = Watch()

    def take(self, selection: Selection) -> Findings:
        """The clean runs that the selected failure modes are judged by.

        Raises ScenarioError where the target can't be built, BaselineError where the clean run fails.
        """
        findings = self._baseline()
        asked = {fault.mode for fault in plan.selected(selection, index.modes())}
        if any(index.modes()[id].judged_by == "reload" for id in asked):
            self._reload(findings)
        return findings

    def plan(self, selection: Selection, recon: Recon) -> list[Planned]:
        """The plan, made where torch is imported; raises UsageError where it can't be."""
        task = {"selection": selection.to_json(), "recon": recon.to_json()}
        (outcome,) = self.engine.run([replace(self._order("plan", self.seed), plan=task)])
        result = outcome.result or {"plan_error": outcome.output[-2000:]}
        if "plan_error" in result:
            raise UsageError(f"the plan could not be made: {result['plan_error']}")
        return [Planned(**entry) for entry in result["plan"]]

    def _baseline(self) -> Findings:
        seed = self.seed
        seeds = [seed, seed + 1, seed + 2]
        # Of another seed than the twin: the twin must be a run that nothing but the recorder looked at. It goes first
        # and alone, and what it imports on its way the others find imported already.
        record = {"record": True, "record_only": True} if self.watch else None
        outcomes = self._clean([self._order(f"clean-{seed + 1}", seed + 1, probe=True, advice=record)])
        advice = Advice(self._asked(outcomes[f"clean-{seed + 1}"]) if self.watch else None)
        watched = {**advice.asked, "record": True} if advice.asked else None
        twin, again_order = self._order(f"clean-{seed}", seed), self._order(f"clean-{seed}-again", seed, advice=watched)
        outcomes |= self._clean([twin, again_order, self._order(f"clean-{seed + 2}", seed + 2, advice=watched)])
        twins = [outcomes[f"clean-{seed}"], outcomes[f"clean-{seed}-again"]]
        first, again = map(_trajectory, twins)
        repeats = [] if first.same_as(again) else [again, *self._repeated()]
        if repeats and advice.asked and first.same_as(repeats[-1]):
            # The guards are to blame, and a verdict must not rest on a run that they have changed.
            repeats, advice.disturbed = [], "a clean run that the ready-made guards watch is not the one without them"
        tolerance = _tolerance([first, *repeats]) if repeats else 0.0
        siblings = [_trajectory(outcomes[f"clean-{s}"]) for s in seeds]
        result = _result(outcomes[f"clean-{seed + 1}"])
        recon = self._corrected(Recon.from_json(result["recon"]))
        self.engine.preload(recon.namespace)
        notices = [Notice.from_json(notice) for outcome in outcomes.values() for notice in _result(outcome)["notices"]]
        metric, lower = verdict.choose_metric(first, self.scenario.monitor)
        if metric in recon.metrics:
            recon = replace(recon, monitor=metric, monitor_mode="min" if lower else "max")
        if self.scenario.monitor and metric not in {**first.final, **first.metrics}:
            remedy = f"It logs {', '.join(sorted({**first.final, **first.metrics})) or 'nothing'}."
            raise self.scenario.problem(("monitor", "metric"), f"the clean run never logs {metric!r}", remedy)
        warnings = {entry["key"] for outcome in outcomes.values() for entry in _result(outcome)["warnings"]}
        baseline = Baseline(
            seconds=round(_result(twins[1])["seconds"], 4),
            steps=first.steps,
            deterministic=not tolerance,
            seeds=seeds,
            metrics=first.final or {name: series[-1][1] for name, series in first.metrics.items()},
            false_alarms=[
                {"kind": notice.kind, "name": notice.name, "step": notice.step, "message": notice.message}
                for notice in _distinct(notices)
                if is_alarm(notice)
            ],
        )
        clean_twin = Twin(first, siblings, notices, frozenset(warnings), tolerance, metric, lower, repeats)
        versions = {**result["versions"], "python": platform.python_version()}
        if self.watch:
            self._let_watch(self.watch, advice, list(outcomes.values()))
        return Findings(baseline, clean_twin, recon, result["sources"], versions, advice=advice)

    def _let_watch(self, watch: Watch, advice: Advice, outcomes: Sequence[Outcome]) -> None:
        """Has the ready-made guards recorded in more clean runs, and then watch others that they do not know."""
        first, others = self.seed + 3, range(self.seed + watch.known, self.seed + watch.known + watch.quiet)
        record = {"record": True, "record_only": True}
        more = [self._order(f"clean-{s}", s, advice=record) for s in range(first, others.start)]
        advice.learn([*outcomes, *self._clean(more).values()])
        if advice.asked and advice.known:
            advice.asked["known"] = self.records.write_known(advice.known)
        if advice.order:
            quiet = [self._order(f"clean-{s}", s, advice=advice.order) for s in others]
            advice.learn(self._clean(quiet).values())
        if advice.order and watch.varied:
            for name, outcome in self._vary(advice.order):
                advice.watched(name, outcome)

    def _vary(self, asked: dict[str, Any]) -> list[tuple[str, Outcome]]:
        """Runs of the harmless variations that this target takes."""
        names = {f"varied-{n}": name for n, name in enumerate(VARIATIONS)}
        orders = [self._order(id, self.seed, advice=asked, variation=VARIATIONS[name]) for id, name in names.items()]
        found: list[tuple[str, Outcome]] = []
        for outcome in self.engine.run(orders):
            self.records.log(outcome)
            if "trajectory" in _result(outcome) and _trajectory(outcome).end == "finished":
                found.append((names[outcome.id], outcome))
        return found

    def _asked(self, outcome: Outcome) -> dict[str, Any]:
        """What the ready-made guards are told of the scenario; those that it has already are not asked twice."""
        metric, lower = verdict.choose_metric(_trajectory(outcome), self.scenario.monitor)
        paths = [guard.class_path.rpartition(".") for guard in self.scenario.guards if guard.class_path]
        own = [name for package, _, name in paths if package.startswith(PACKAGE)]
        logged = _trajectory(outcome).metrics
        return {"monitor": metric if metric in logged else "", "mode": "min" if lower else "max", "without": own}

    def _clean(self, orders: Sequence[Order]) -> dict[str, Outcome]:
        """Runs clean orders; raises BaselineError where one does not train to its end."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self.engine.run(orders):
            self.records.log(outcome)
            outcomes[outcome.id] = outcome
            log = self.records.log_file(outcome.id) if outcome.output else ""
            result = outcome.result or {}
            if "target_error" in result:
                error = result["target_error"]
                raise TargetBrokenError(error["where"], error["message"], error["remedy"])
            if outcome.timed_out:
                raise BaselineError(f"the clean run goes on after {DEADLINE:.0f} s; limit its steps")
            if not result:
                ended = f"the clean run's process ended with status {outcome.exit}"
                raise BaselineError(ended, log=log)
            trajectory = result["trajectory"]
            if trajectory["end"] != "finished":
                message = result["notices"][-1]["message"] if result["notices"] else "it exits"
                raise BaselineError(f"the clean run already fails: {message}", log=log)
            if not trajectory["steps"]:
                raise BaselineError("the clean run trains no step: the training loader yields no batch")
        return {order.id: outcomes[order.id] for order in orders}

    def _repeated(self) -> list[Trajectory]:
        """Three more clean runs of the same seed, of a target that does not repeat itself."""
        seed = self.seed
        orders = [self._order(f"clean-{seed}-{n}", seed) for n in range(3)]
        return [_trajectory(outcome) for outcome in self._clean(orders).values()]

    def _corrected(self, recon: Recon) -> Recon:
        """The recon with the roles that the scenario says, where it says them."""
        roles = self.scenario.batch
        for name in ("inputs", "labels"):
            said: str | list[str] | None = getattr(roles, name, None)
            if said is None:
                continue
            prefixes = (said,) if isinstance(said, str) else tuple(said)
            found = tuple(path for path in recon.leaves if any(path == p or path.startswith(f"{p}.") for p in prefixes))
            if not found:
                remedy = f"The batch has {', '.join(recon.leaves) or 'no tensors'}."
                raise self.scenario.problem(("batch", name), f"no part of the batch is called {said!r}", remedy)
            recon = replace(recon, inputs=found) if name == "inputs" else replace(recon, labels=found)
        return recon

    def _reload(self, findings: Findings) -> None:
        """Takes the twin of the runs that go on from their checkpoints; the recon says if the target can't."""
        twin, known = findings.twin, findings.recon.to_json()
        advice = findings.advice.order
        outcomes = self._reloaded(["", "-again"], known, advice)
        for outcome in outcomes:
            self.records.log(outcome)
            if "trajectory" not in _result(outcome) or _trajectory(outcome).end != "finished":
                notices = _result(outcome).get("notices") or [{"message": f"it ended with status {outcome.exit}"}]
                said = notices[-1]["message"].partition("\n")[0]
                reason = f"the clean run can't go on from its own checkpoints: {said}"
                findings.recon = replace(findings.recon, unreloadable=reason)
                return
        first, again = map(_trajectory, outcomes)
        repeats = [again]
        if not first.same_as(again):
            outcomes += self._reloaded(["-0", "-1", "-2"], known, advice)
            found = [outcome for outcome in outcomes[2:] if "trajectory" in _result(outcome)]
            repeats += map(_trajectory, found)
        notices = [Notice.from_json(notice) for outcome in outcomes for notice in _result(outcome).get("notices", [])]
        warnings = {entry["key"] for outcome in outcomes for entry in _result(outcome).get("warnings", [])}
        findings.reloads = outcomes
        findings.recon = replace(findings.recon, saves=int(_result(outcomes[0])["saves"]))
        findings.reloaded = replace(
            twin,
            trajectory=first,
            notices=[*twin.notices, *notices],
            warnings=twin.warnings | warnings,
            tolerance=twin.tolerance if first.same_as(again) else max(twin.tolerance, _tolerance([first, *repeats])),
            repeats=repeats,
        )

    def _reloaded(self, names: Sequence[str], known: dict[str, Any], advice: dict[str, Any] | None) -> list[Outcome]:
        """Clean runs that go on from their checkpoints."""
        orders = [self._order(f"{RELOADED}{name}", self.seed) for name in names]
        return list(self.engine.run([replace(order, reload=True, recon=known, advice=advice) for order in orders]))

    def _order(self, id: str, seed: int, **more: Any) -> Order:
        return order(self.engine, id, seed, deadline=DEADLINE, **more)


def order(engine: Engine, id: str, seed: int, **more: Any) -> Order:
    """An order whose run writes to a folder of its own."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in id)
    return Order(id, seed, root=str(Path(engine.root) / safe), **more)


def deadline(mode: FailureMode, seconds: float) -> float:
    """How long a run may take, in seconds, with a fault of this mode in it; ``seconds`` is what it takes clean."""
    # What hangs says so when it begins, and then the rest of a clean run is all that there is to wait for.
    factor, floor = (_HANG_FACTOR, _HANG_FLOOR) if mode.hangs else (_FACTOR, _FLOOR)
    return max(floor, factor * seconds)


def _result(outcome: Outcome) -> Mapping[str, Any]:
    return outcome.result or {}


def _trajectory(outcome: Outcome) -> Trajectory:
    return Trajectory.from_json(_result(outcome)["trajectory"])


def _tolerance(repeats: Sequence[Trajectory]) -> float:
    """How far clean runs of one seed stray from each other, doubled."""
    distances = [one.distance(other) for one, other in combinations(repeats, 2)]
    return 2 * max([distance for distance in distances if math.isfinite(distance)], default=0.0) or math.ulp(0.0)


def _distinct(notices: Sequence[Notice]) -> list[Notice]:
    distinct: list[Notice] = []
    for notice in notices:
        if not any(notice.same_alarm(known) for known in distinct):
            distinct.append(notice)
    return distinct
