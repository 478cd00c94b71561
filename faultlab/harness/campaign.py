"""One scenario carried out: baseline, plan, runs, verdicts, report. The driver's side: it never imports torch."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from faultlab import __version__, index
from faultlab.detectors.notice import Notice, is_alarm
from faultlab.engines import Engine, TargetBrokenError
from faultlab.engines.protocol import Order, Outcome
from faultlab.errors import BaselineError, UsageError
from faultlab.fault import Fault
from faultlab.harness import plan, verdict
from faultlab.harness.gate import check
from faultlab.harness.plan import Planned, Selection
from faultlab.harness.records import Records
from faultlab.harness.trajectory import Trajectory
from faultlab.harness.verdict import Twin
from faultlab.recon import Recon
from faultlab.results import Baseline, FaultResult, Report, Status
from faultlab.scenario import Scenario

_BASELINE_DEADLINE = 900.0
_DEADLINE_FACTOR = 10.0
_DEADLINE_FLOOR = 10.0
_HANG_FACTOR = 3.0
_HANG_FLOOR = 3.0
TRUNK, CANARY, NULL, RELOADED = "trunk", "canary", "null", "clean-reloaded"


class Listener(Protocol):
    """Told of a campaign's progress."""

    def started(self, scenario: str) -> None: ...

    def measured(self, baseline: Baseline) -> None: ...

    def planned(self, total: int) -> None: ...

    def judged(self, result: FaultResult) -> None: ...


@dataclass(frozen=True)
class Options:
    """What the command line adds to a scenario. ``timeout`` is a faulted run's deadline in seconds."""

    select: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    seed: int = 0
    timeout: float | None = None
    resume: bool = False
    out: Path = Path("reports")
    fail_under: float | None = None


@dataclass
class Campaign:
    """Carries one scenario out with an engine; ``run`` returns the report, also of a campaign that was interrupted."""

    scenario: Scenario
    engine: Engine
    options: Options
    listener: Listener
    interrupted: bool = False
    _results: dict[str, FaultResult] = field(default_factory=dict)
    _sources: str = ""
    _reloaded_twin: Twin | None = None

    def run(self) -> Report:
        """Raises ScenarioError where the target can't be built, BaselineError where the clean run fails."""
        begun = time.perf_counter()
        report = Report(self.scenario.name, faultlab=__version__)
        self.listener.started(self.scenario.name)
        records = Records(self.options.out / self.scenario.name)
        records.clear(self.options.resume)
        try:
            self.engine.open(self.scenario.name, self.scenario.for_victims())
            imported = time.perf_counter()
            twin, recon = self._baseline(report, records)
            self.listener.measured(report.baseline)
            measured = time.perf_counter()
            report.timing = {"import": imported - begun, "baseline": measured - imported}
            selection = self.scenario.selection(self.options.select, self.options.skip)
            asked = {fault.mode for fault in plan.selected(selection, index.modes())}
            if any(index.modes()[id].judged_by == "reload" for id in asked):
                recon = self._reload(recon, twin, records)
            planned = self._plan(selection, recon)
            self._inject(planned, recon, twin, report, records)
        except TargetBrokenError as error:
            raise self.scenario.problem(error.where, error.message, error.remedy) from None
        except KeyboardInterrupt:
            self.interrupted = True
            report.reasons.append("interrupted: what was done is kept, --resume goes on from here")
        ended = time.perf_counter()
        report.timing["faults"] = ended - begun - sum(report.timing.values())
        report.timing["total"] = ended - begun
        report.timing = {name: round(seconds, 3) for name, seconds in report.timing.items()}
        report.timing["jobs"] = self.engine.jobs
        report.faults = sorted(self._results.values(), key=lambda result: result.id)
        report.reasons += check(report, self.scenario.gate, self.options.fail_under)
        report.passed = not report.reasons
        records.write_report(report)
        return report

    def _baseline(self, report: Report, records: Records) -> tuple[Twin, Recon]:
        seed = self.options.seed
        seeds = [seed, seed + 1, seed + 2]
        # Of another seed than the twin: the twin must be a run that nothing but the recorder looked at. It goes first
        # and alone, and what it imports on its way the others find imported already.
        probe = self._order(f"clean-{seed + 1}", seed + 1, probe=True, deadline=_BASELINE_DEADLINE)
        orders = [self._order(f"clean-{s}", s, deadline=_BASELINE_DEADLINE) for s in (seed, seed + 2)]
        orders.append(self._order(f"clean-{seed}-again", seed, deadline=_BASELINE_DEADLINE))
        outcomes = {**self._clean([probe], records), **self._clean(orders, records)}
        twins = [outcomes[f"clean-{seed}"], outcomes[f"clean-{seed}-again"]]
        first, again = map(_trajectory, twins)
        repeats = [] if first.same_as(again) else [again, *self._repeated(records)]
        tolerance = _tolerance([first, *repeats]) if repeats else 0.0
        siblings = [_trajectory(outcomes[f"clean-{s}"]) for s in seeds]
        result = _result(outcomes[f"clean-{seed + 1}"])
        self._sources = result["sources"]
        recon = self._corrected(Recon.from_json(result["recon"]))
        self.engine.preload(recon.namespace)
        notices = [Notice.from_json(notice) for outcome in outcomes.values() for notice in _result(outcome)["notices"]]
        metric, lower = verdict.choose_metric(first, self.scenario.monitor)
        if metric in recon.metrics:
            recon = replace(recon, monitor=metric, monitor_mode="min" if lower else "max")
        if self.scenario.monitor and metric not in {**first.final, **first.metrics}:
            remedy = f"It logs {', '.join(sorted({**first.final, **first.metrics})) or 'nothing'}."
            raise self.scenario.problem(("monitor", "metric"), f"the clean run never logs {metric!r}", remedy)
        report.versions = {**result["versions"], "python": platform.python_version()}
        report.baseline = Baseline(
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
        warnings = {entry["key"] for outcome in outcomes.values() for entry in _result(outcome)["warnings"]}
        return Twin(first, siblings, notices, frozenset(warnings), tolerance, metric, lower, repeats), recon

    def _clean(self, orders: Sequence[Order], records: Records) -> dict[str, Outcome]:
        """Runs clean orders; raises BaselineError where one does not train to its end."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self.engine.run(orders):
            records.log(outcome)
            outcomes[outcome.id] = outcome
            log = records.log_file(outcome.id) if outcome.output else ""
            result = outcome.result or {}
            if "target_error" in result:
                error = result["target_error"]
                raise TargetBrokenError(error["where"], error["message"], error["remedy"])
            if outcome.timed_out:
                raise BaselineError(f"the clean run goes on after {_BASELINE_DEADLINE:.0f} s; limit its steps")
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

    def _repeated(self, records: Records) -> list[Trajectory]:
        """Three more clean runs of the same seed, of a target that does not repeat itself."""
        seed = self.options.seed
        orders = [self._order(f"clean-{seed}-{n}", seed, deadline=_BASELINE_DEADLINE) for n in range(3)]
        return [_trajectory(outcome) for outcome in self._clean(orders, records).values()]

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

    def _reload(self, recon: Recon, twin: Twin, records: Records) -> Recon:
        """Takes the twin of the runs that go on from their checkpoints; the recon says if the target can't."""
        names = [RELOADED, f"{RELOADED}-again"]
        known = recon.to_json()
        orders = [self._order(name, self.options.seed, deadline=_BASELINE_DEADLINE) for name in names]
        outcomes = list(self.engine.run([replace(order, reload=True, recon=known) for order in orders]))
        for outcome in outcomes:
            records.log(outcome)
            if "trajectory" not in _result(outcome) or _trajectory(outcome).end != "finished":
                notices = _result(outcome).get("notices") or [{"message": f"it ended with status {outcome.exit}"}]
                said = notices[-1]["message"].partition("\n")[0]
                return replace(recon, unreloadable=f"the clean run can't go on from its own checkpoints: {said}")
        first, again = map(_trajectory, outcomes)
        strays = [] if first.same_as(again) else [first, again]
        notices = [Notice.from_json(notice) for outcome in outcomes for notice in _result(outcome)["notices"]]
        warnings = twin.warnings | {entry["key"] for outcome in outcomes for entry in _result(outcome)["warnings"]}
        self._reloaded_twin = replace(
            twin,
            trajectory=first,
            notices=[*twin.notices, *notices],
            warnings=warnings,
            tolerance=max(twin.tolerance, _tolerance(strays)) if strays else twin.tolerance,
            repeats=[*twin.repeats, *strays],
        )
        return replace(recon, saves=int(_result(outcomes[0])["saves"]))

    def _plan(self, selection: Selection, recon: Recon) -> list[Planned]:
        task = {"selection": selection.to_json(), "recon": recon.to_json()}
        (outcome,) = self.engine.run([replace(self._order("plan", 0), plan=task)])
        result = outcome.result or {"plan_error": outcome.output[-2000:]}
        if "plan_error" in result:
            raise UsageError(f"the plan could not be made: {result['plan_error']}")
        return [Planned(**entry) for entry in result["plan"]]

    def _inject(self, planned: Sequence[Planned], recon: Recon, twin: Twin, report: Report, records: Records) -> None:
        asked = self.scenario.model_dump(mode="json", exclude={"gate", "faults"})
        digest = plan.digest(planned, asked, recon.to_json(), self._sources, self.options.seed, __version__)
        known = records.begin(planned, digest, self.options, resume=self.options.resume)
        self.listener.planned(len(planned))
        for entry in planned:
            if entry.status:
                self._settle(_unrun(entry), records)
            elif entry.id in known:
                self._settle(known[entry.id], records)
        orders = {entry.id: self._faulted(entry, recon, report) for entry in planned if entry.id not in self._results}
        ended_by_flag: dict[str, Outcome] = {}
        for outcome in self.engine.run(self._with_trunk([*self._canaries(recon, report), *orders.values()])):
            records.log(outcome)
            if outcome.id not in orders:
                report.reasons += self._check_canary(outcome, twin)
            elif self._ended_by_flag(outcome):
                ended_by_flag[outcome.id] = outcome
            else:
                self._settle(self._judge(outcome, twin), records)
        # A flag that raises ends the run before other guards saw it; a second run without it fills their part.
        again = [replace(orders[id], at="construct", flags=False) for id in ended_by_flag]
        for outcome in self.engine.run(again):
            records.log(outcome)
            others = [Notice.from_json(notice) for notice in (outcome.result or {}).get("notices", [])]
            guards = [notice for notice in others if notice.kind == "guard"]
            self._settle(self._judge(ended_by_flag[outcome.id], twin, guards), records)

    def _with_trunk(self, orders: Sequence[Order]) -> list[Order]:
        """The clean run that the others are forked off goes first."""
        stems = sorted({order.at for order in orders if order.at != "construct"}, key=str)
        trunk = self._order(TRUNK, self.options.seed, deadline=_BASELINE_DEADLINE)
        return [replace(trunk, stems=tuple(stems)), *orders]

    def _canaries(self, recon: Recon, report: Report) -> list[Order]:
        """A total break, and a fault that never acts; with ids of their own, for the plan may hold the same faults."""
        faults = {CANARY: "step.raises@always", NULL: "step.raises@step=1000000000"}
        return [self._faulted(Planned(id, "fit"), recon, report, fault) for id, fault in faults.items()]

    def _check_canary(self, outcome: Outcome, twin: Twin) -> list[str]:
        """Why nothing is proven: the total break was not noticed, or what changes nothing did not run like the twin."""
        if outcome.id == CANARY:
            result = verdict.judge(CANARY, index.modes()["step.raises"], outcome, twin)
            if result.status is Status.NOTICED:
                return []
            found = f"{result.status.value}: {result.reason}"
            return [f"inconclusive: a step that always raises was not noticed ({found})"]
        if outcome.result is not None and twin.same_run(_trajectory(outcome)):
            return []
        what = "the clean run" if outcome.id == TRUNK else "a fault that never acts"
        return [f"inconclusive: {what} does not run like the clean run before it"]

    def _judge(self, outcome: Outcome, twin: Twin, extra: Sequence[Notice] = ()) -> FaultResult:
        mode = index.modes()[Fault.parse(outcome.id).mode]
        if mode.judged_by == "reload" and self._reloaded_twin is not None:
            twin = self._reloaded_twin
        return verdict.judge(outcome.id, mode, outcome, twin, extra)

    def _settle(self, result: FaultResult, records: Records) -> None:
        self._results[result.id] = result
        records.add(result)
        self.listener.judged(result)

    def _ended_by_flag(self, outcome: Outcome) -> bool:
        flags = {name for guard in self.scenario.guards for name in guard.trainer_flag or ()}
        callbacks = any(guard.class_path for guard in self.scenario.guards)
        result = outcome.result or {}
        raised = result.get("trajectory", {}).get("end") == "raised"
        return bool(raised and callbacks and result["notices"] and result["notices"][-1]["name"] in flags)

    def _faulted(self, entry: Planned, recon: Recon, report: Report, fault: str = "") -> Order:
        mode = index.modes()[Fault.parse(fault or entry.id).mode]
        # What hangs says so when it begins, and then the rest of a clean run is all that there is to wait for.
        factor, floor = (_HANG_FACTOR, _HANG_FLOOR) if mode.hangs else (_DEADLINE_FACTOR, _DEADLINE_FLOOR)
        reload = mode.judged_by == "reload"
        deadline = self.options.timeout or max(floor, factor * report.baseline.seconds * (1 + 2 * reload))
        order = self._order(entry.id, self.options.seed, deadline=deadline)
        return replace(order, fault=fault or entry.id, at=entry.at, recon=recon.to_json(), reload=reload)

    def _order(self, id: str, seed: int, probe: bool = False, deadline: float = 60.0) -> Order:
        safe = "".join(letter if letter.isalnum() else "-" for letter in id)
        return Order(id, seed, root=str(Path(self.engine.root) / safe), probe=probe, deadline=deadline)


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


def _unrun(entry: Planned) -> FaultResult:
    mode = index.modes()[Fault.parse(entry.id).mode]
    return FaultResult(entry.id, mode.id, mode.family, mode.severity, Status(entry.status), entry.reason)
