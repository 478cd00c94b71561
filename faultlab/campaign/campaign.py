"""The campaign of one scenario, in the driver: baseline, plan, runs, verdicts, report."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from faultlab.campaign import curves, guard_advice, plan, provenance, verdict
from faultlab.campaign.clean_runs import SNAPSHOT_RUN, order
from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.guard_worth import Worth, without, worth_of
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.logs import Logs, ignore_by_git
from faultlab.campaign.preparation import Findings, Preparation, deadline
from faultlab.campaign.scenario_tests import Tests, join
from faultlab.campaign.second_attempt import is_late, longer
from faultlab.campaign.snapshot_run import SnapshotRun, unforked
from faultlab.campaign.verdict import Twin
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.config.scenario import Scenario, project_root
from faultlab.config.source_lookup import known_as, place_of, within_repository
from faultlab.core import framework_names
from faultlab.core.alert import Alert
from faultlab.core.comparison import UNDETECTED, UNTRIED
from faultlab.core.fault import Fault, Trigger
from faultlab.core.orders import Order, Planned, Train
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.records import Records
from faultlab.core.report import Baseline, FaultResult, Report, Status
from faultlab.core.results import Outcome
from faultlab.core.run_folder import folder_of
from faultlab.core.shard import Shard
from faultlab.core.target_profile import TargetProfile
from faultlab.core.version import __version__
from faultlab.engines import Engine
from faultlab.errors import ScenarioError, TargetError
from faultlab.gate import baseline_check
from faultlab.gate.baseline_file import Accepted
from faultlab.gate.demands import check, check_exemptions
from faultlab.report import reporters

# Failure modes that end every training: the first that the framework supports.
_TOTAL_BREAKS = ("step.raises", "forward.raises")
CANARY, NULL = "canary", "null"


class Listener(Protocol):
    """Receives a campaign's progress.

    For each round of faults: the verdicts that need no run are ``settled``, the ``total`` of the others is ``planned``,
    and each of these is ``judged``.
    """

    def started(self, scenario: str) -> None: ...

    def measured(self, baseline: Baseline) -> None: ...

    def settled(self, result: FaultResult) -> None: ...

    def planned(self, total: int) -> None: ...

    def judged(self, result: FaultResult) -> None: ...

    def testing(self) -> None: ...


@dataclass(frozen=True)
class Options:
    """Options of the command line for a scenario. ``timeout`` is a faulted run's deadline in seconds.

    ``study`` is the name of the command if it runs a scenario that it has generated. With ``keep_report`` the report of
    an earlier campaign stays in place until the new one is written.
    """

    select: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    seed: int = 0
    timeout: float | None = None
    resume: bool = False
    out: Path = Path("reports")
    fail_under: float | None = None
    watch: Watch = field(default_factory=Watch)
    shard: Shard = field(default_factory=Shard)
    accepted: Accepted | None = None
    study: str = ""
    keep_report: bool = False

    @property
    def selection(self) -> dict[str, list[str]]:
        """The selection as a report has it: empty if the scenario's faults are not narrowed."""
        return {"select": [*self.select], "ignore": [*self.skip]} if self.select or self.skip else {}

    def folder(self, scenario: str) -> Path:
        """Return the run folder of a scenario."""
        return folder_of(self.out, scenario, bool(self.selection))


Further = Callable[[Mapping[Fault, FaultResult], Findings], Sequence[Fault]]


@dataclass
class Campaign:
    """The campaign of one scenario with an engine; ``run`` returns the report, even after an interruption.

    ``further`` returns the faults to inject next, after those of the scenario, until it returns none.
    """

    scenario: Scenario
    engine: Engine
    options: Options
    listener: Listener
    interrupted: bool = False
    advice: Advice = field(default_factory=Advice)
    worths: list[Worth] = field(default_factory=list)
    further: Further = lambda results, findings: ()
    _faults: dict[str, Fault] = field(default_factory=dict)
    _results: dict[str, FaultResult] = field(default_factory=dict)
    _drawn: Twin | None = None
    _written: Logs | None = None

    def run(self) -> Report:
        """Raise ScenarioError if the target can't be built or tests are missing, BaselineError if a clean run fails."""
        begun = time.perf_counter()
        tests = self.scenario.test_files
        report = Report(self.scenario.name, faultlab=__version__, shard=str(self.options.shard), date=provenance.now(),
                        selection=self.options.selection, study=self.options.study)  # fmt: skip
        report.demands, report.exemptions = self.scenario.demands(self.options.fail_under), self.scenario.exemptions
        self.listener.started(self.scenario.name)
        records = Records(self.options.folder(self.scenario.name))
        records.clear(self.options.resume, reporters.files(), self.options.keep_report)
        ignore_by_git(self.options.out)
        try:
            self.engine.open(self.scenario.name, self.scenario.for_victims())
            imported = time.perf_counter()
            preparation = Preparation(self.scenario, self.engine, records, self.options.seed, self.options.watch)
            selection = self.scenario.selection(self.options.select, self.options.skip)
            findings = preparation.take(selection)
            self.advice = findings.advice
            self._logs(records).learn_clean()
            report.baseline, report.versions = findings.baseline, dict(findings.versions)
            root = project_root(self.scenario.file).resolve()
            module = known_as(findings.profile.module, self.scenario.script, root)
            report.target = {**place_of(module, root), "scenario": str(self.scenario.file)}
            if self.scenario.framework != framework_names.DEFAULT:
                report.target["framework"] = self.scenario.framework
            if code := provenance.code_of(report.target, root):
                report.target["code"] = code
            report.commit = provenance.commit_of(root)
            if project := within_repository(root):
                report.target["project"] = project
            records.forget()
            self.listener.measured(report.baseline)
            measured = time.perf_counter()
            report.timing = {"import": imported - begun, "baseline": measured - imported}
            whole = preparation.plan(selection, findings.profile)
            planned = plan.share(whole, self.options.shard)
            known = self._known(whole, planned, findings, records)
            self._inject(planned, known, findings, records, report)
            while asked := self.further(self.judged, findings):
                more = preparation.plan(replace(selection, select=asked, skip=()), findings.profile)
                planned = records.extend(planned, more)
                self._inject(more, {}, findings, records, report)
            records.write_curves(curves.pieces(self._drawn or findings.twin, findings.reloaded, records.curves()))
            self.worths = self._weigh(planned, findings, records)
            if tests:
                self._ask_tests(tests, findings, records, report)
        except ScenarioError:
            records.restore()
            raise
        except TargetError as error:
            records.restore()
            raise self.scenario.problem(error.where, error.message, error.remedy) from None
        except KeyboardInterrupt:
            self.interrupted = True
            text = "interrupted: verdicts so far are kept, --resume continues from here"
            report.reasons.append(Reason(ReasonKind.INTERRUPTED, text))
        ended = time.perf_counter()
        report.timing["faults"] = ended - begun - sum(report.timing.values())
        report.timing["total"] = ended - begun
        report.timing = {name: round(seconds, 3) for name, seconds in report.timing.items()}
        report.timing["jobs"] = self.engine.jobs
        report.faults = sorted(self._results.values(), key=lambda result: result.id)
        report.reasons += [*check(report), *check_exemptions(report)]
        if self.options.accepted is not None:
            report.reasons += baseline_check.check(self.options.accepted, report)
        report.passed = not report.reasons
        records.write_report(report)
        return report

    @property
    def judged(self) -> dict[Fault, FaultResult]:
        """The verdicts so far, by the fault of the plan."""
        return {self._faults[id]: result for id, result in self._results.items()}

    def _known(self, whole: Sequence[Planned], planned: Sequence[Planned], found: Findings,
               records: Records) -> Mapping[str, FaultResult]:  # fmt: skip
        """Write the plan; return the verdicts that an interrupted campaign left."""
        asked = self.scenario.model_dump(mode="json", exclude={"gate", "faults"})
        # A verdict's prescription depends on the guards that watched, and on the recorded runs they compared with.
        advised = found.advice.order is not None, self.options.watch.known
        circumstances = (asked, found.profile.to_json(), found.sources, self.options.seed, __version__, advised)
        return records.begin(planned, plan.digest(whole, *circumstances), self.options, resume=self.options.resume)

    def _inject(self, planned: Sequence[Planned], known: Mapping[str, FaultResult], found: Findings, records: Records,
                report: Report) -> None:  # fmt: skip
        for entry in planned:
            self._faults[entry.id] = entry.fault
            if entry.status:
                self._add(_unrun(entry), records)
            elif entry.id in known:
                found.advice.note(entry.id, records.advised(entry.id))
                self._add(known[entry.id], records)
            if entry.id in self._results:
                self.listener.settled(self._results[entry.id])
        orders = {entry.id: self._faulted(entry, found) for entry in planned if entry.id not in self._results}
        self.listener.planned(len(orders))
        ended_by_flag: dict[str, Outcome] = {}
        alone: list[Order] = []
        compared: dict[str, Twin] = {}
        beside = [*self._canaries(found), *orders.values()]
        for outcome, twin in self._snapshot_run(found).run(beside):
            self._logs(records).write(outcome)
            compared[outcome.id] = twin
            self._drawn = twin if twin is not found.twin else self._drawn
            report.baseline.findings += unforked(outcome)
            if outcome.id not in orders:
                wrong = self._check_canary(outcome, twin, found.profile)
                report.reasons += wrong
                if not wrong:
                    self._logs(records).drop(outcome.id)
            elif self._ended_by_flag(outcome, found):
                ended_by_flag[outcome.id] = outcome
            elif is_late(_mode_of(orders[outcome.id]), outcome):
                alone.append(longer(orders[outcome.id], self.options.timeout))
            elif outcome.exit == -signal.SIGKILL and not outcome.timed_out and not outcome.lost:
                alone.append(orders[outcome.id])
            else:
                self._conclude(orders[outcome.id], outcome, twin, found, records)
        # A flag that raises ends the run before other guards see it; a second run without flags has their alerts.
        again = [replace(orders[id].with_training(flags=False), at="construct") for id in ended_by_flag]
        for outcome in self.engine.run(again):
            self._logs(records).write(outcome)
            guards = [alert for run in outcome.runs for alert in run.alerts if alert.kind == "guard"]
            order, first = orders[outcome.id], ended_by_flag[outcome.id]
            self._conclude(order, first, compared[outcome.id], found, records, guards)
        # The system kills processes if memory runs out, and other victims may have used the memory, or the time. If a
        # run fails alone too, the fault itself is the cause.
        for one in alone:
            for outcome in self.engine.run([replace(one, at="construct")]):
                self._logs(records).write(outcome)
                self._conclude(one, outcome, found.twin, found, records)

    def _weigh(self, planned: Sequence[Planned], found: Findings, records: Records) -> list[Worth]:
        """Return the worth of the user's guards; a fault that only one detects runs again with that guard disabled."""
        worths = worth_of(found.guards, self._results)
        entries = {entry.id: entry for entry in planned}
        orders: dict[str, Order] = {}
        for worth in worths:
            # A guard outside of the Trainer's callbacks can't be disabled.
            if worth.alone and worth.guard in found.profile.callbacks:
                tried = self._faulted(entries[worth.alone[0]], found)
                missing = tried.with_training(also=(without(worth.guard),))
                orders[worth.guard] = replace(missing, id=f"{tried.id} without {worth.guard}")
        tried_out = list(orders.values())
        for outcome, twin in self._snapshot_run(found).run(tried_out):
            for worth in worths:
                if worth.guard in orders and orders[worth.guard].id == outcome.id:
                    judged = self._verdict(entries[worth.alone[0]].fault, outcome, twin, found)
                    worth.proven = judged.status in (*UNDETECTED, Status.NO_EFFECT)
        records.write_advice({**found.advice.to_json(), "yours": [asdict(worth) for worth in worths]})
        return worths

    def _ask_tests(self, files: Sequence[str], found: Findings, records: Records, report: Report) -> None:
        """Run the user's tests under every fault that ran, and join their verdicts with the guards'."""
        self.listener.testing()
        path = self.scenario.for_victims()["path"]
        tests = Tests(files, records.folder, path, self.engine.jobs, self.options.timeout)
        ran = {fault: result for fault, result in self.judged.items() if result.status not in UNTRIED}
        root = project_root(self.scenario.file).resolve()
        # A loop's modules may be several, and of torch's own classes: whatever the tests train is broken.
        loop = self.scenario.train is not None
        judged = tests.judge(ran, "" if loop else known_as(found.profile.module, self.scenario.script, root))
        for fault, result in self.judged.items():
            joined = join(fault, result, judged)
            if joined != result:
                self._results[result.id] = joined
                records.revise(joined)
                self._logs(records).keep_or_drop(joined)
        report.reasons += judged.problems
        report.baseline.false_alarms += [Alert("test", test, 0, why) for test, why in judged.left_out.items()]

    def _canaries(self, found: Findings) -> list[Order]:
        """Return a total break and a fault that never acts, with their own ids: the plan may have the same faults."""
        breaks = _total_break(found.profile)
        triggers = {CANARY: Trigger("always"), NULL: Trigger("step", 1_000_000_000)}
        faults = {id: Planned(Fault(breaks, trigger=trigger), "fit") for id, trigger in triggers.items()}
        return [self._faulted(entry, found, id) for id, entry in faults.items()]

    def _check_canary(self, outcome: Outcome, twin: Twin, profile: TargetProfile) -> list[Reason]:
        """Return why nothing is proven: a total break went undetected, or an unchanged run differed from its twin."""
        if outcome.id == CANARY:
            result = verdict.judge(CANARY, index.modes()[_total_break(profile)], outcome, twin)
            if result.status is Status.DETECTED:
                return []
            found = f"{result.status.value}: {result.reason}"
            text = f"inconclusive: a step that always raises was not detected ({found})"
            return [Reason(ReasonKind.CANARY, text)]
        if outcome.trajectory is not None and twin.same_run(outcome.trajectory, certain=True):
            return []
        what = "the clean run" if outcome.id == SNAPSHOT_RUN else "a fault that never acts"
        return [Reason(ReasonKind.CANARY, f"inconclusive: {what} differs from the clean run before it")]

    def _snapshot_run(self, found: Findings) -> SnapshotRun:
        return SnapshotRun(self.engine, found.twin, self.options.seed, found.advice.order)

    def _conclude(self, order: Order, outcome: Outcome, twin: Twin, found: Findings, records: Records,
                  extra: Sequence[Alert] = ()) -> None:  # fmt: skip
        """Judge an outcome, and record the alerts of the ready-made guards."""
        mode = _mode_of(order)
        result = self._verdict(_fault_of(order), outcome, twin, found, extra)
        clean = found.reloads if mode.judged_by == "reload" else ()
        advised = found.advice.judge(outcome.id, mode, outcome, clean)
        if result.status in UNDETECTED:
            result = replace(result, prescription=found.advice.prescription(outcome.id))
        course = curves.of_outcome(outcome, found.twin.metric) if result.status in UNDETECTED else None
        self._add(result, records, [guard_advice.written(seen) for seen in advised], course)
        self.listener.judged(result)

    def _verdict(self, fault: Fault, outcome: Outcome, twin: Twin, found: Findings,
                 extra: Sequence[Alert] = ()) -> FaultResult:  # fmt: skip
        mode = index.modes()[fault.mode]
        reloaded = found.reloaded if mode.judged_by == "reload" else None
        return verdict.judge(str(fault), mode, outcome, reloaded or twin, extra)

    def _add(self, result: FaultResult, records: Records, advised: Sequence[Any] = (), curve: Any = None) -> None:
        self._results[result.id] = result
        records.add(result, advised, curve)
        self._logs(records).keep_or_drop(result)

    def _logs(self, records: Records) -> Logs:
        if self._written is None:
            self._written = Logs(records)
        return self._written

    def _ended_by_flag(self, outcome: Outcome, found: Findings) -> bool:
        flags = {name for guard in self.scenario.guards for name in guard.trainer_flag or ()}
        callbacks = bool(set(found.guards) - flags)
        run = outcome.run
        raised = run is not None and run.trajectory.end == "raised"
        return bool(run and raised and callbacks and run.alerts and run.alerts[-1].name in flags)

    def _faulted(self, entry: Planned, found: Findings, id: str = "") -> Order:
        mode = index.modes()[entry.fault.mode]
        reload = mode.judged_by == "reload"
        task = Train(self.options.seed, entry.fault, profile=found.profile, reload=reload,
                     advice=found.advice.order_of(reload))  # fmt: skip
        allowed = self.options.timeout or deadline(mode, found.baseline.seconds * (1 + 2 * reload))
        return order(self.engine, id or entry.id, task, deadline=allowed, at=entry.at, sleeps=mode.hangs)


def _fault_of(order: Order) -> Fault:
    assert order.training is not None
    assert order.training.fault is not None
    return order.training.fault


def _mode_of(order: Order) -> FailureMode:
    return index.modes()[_fault_of(order).mode]


def _unrun(entry: Planned) -> FaultResult:
    mode = index.modes()[entry.fault.mode]
    return FaultResult(entry.id, mode.id, mode.family, mode.severity, Status(entry.status), entry.reason)


def _total_break(profile: TargetProfile) -> str:
    """Return the first total break that applies to the target, the last of all if none seems to."""
    points = {id: index.modes()[id].point for id in _TOTAL_BREAKS}
    applicable = (id for id, point in points.items() if point.hooked(profile) and not point.inapplicable(profile))
    return next(applicable, _TOTAL_BREAKS[-1])
