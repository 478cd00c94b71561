"""The preparation of a campaign: the clean runs, what they show, and the plan."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from faultlab.campaign import nondeterminism, plan
from faultlab.campaign.clean_runs import NEVER_UPDATED, CleanRuns
from faultlab.campaign.clean_spread import blind, never_updating, outlying
from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.healthy_runs import RECORD, Watch, Watching, asked
from faultlab.campaign.metric_choice import UNREPORTED, Measure, choose_metric, reported, undirected, unevaluated
from faultlab.campaign.verdict import RESUMED, Twin
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import FailureMode, nearest
from faultlab.config.scenario import Scenario
from faultlab.config.selection import Selection
from faultlab.core import framework_names
from faultlab.core.alert import Alert, is_false_alarm
from faultlab.core.exit_status import in_words
from faultlab.core.orders import Planned
from faultlab.core.records import Records
from faultlab.core.report import Baseline
from faultlab.core.results import Outcome, RunResult
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.engines import Engine
from faultlab.errors import FaultlabError, UsageError

RELOADED = "clean-reloaded"
_STAGE = re.compile(r"[^A-Za-z0-9]+")
_FACTOR, _FLOOR = 10.0, 10.0
_HANG_FACTOR, _HANG_FLOOR = 3.0, 3.0


@dataclass
class Findings:
    """The results of the clean runs.

    ``reloaded`` is the twin of runs that continue from their checkpoints, ``reloads`` has these runs. ``guards`` has
    the names of the user's guards.
    """

    baseline: Baseline
    twin: Twin
    profile: TargetProfile
    sources: str
    versions: Mapping[str, str]
    reloaded: Twin | None = None
    advice: Advice = field(default_factory=Advice)
    reloads: Sequence[Outcome] = ()
    guards: Sequence[str] = ()


@dataclass(frozen=True)
class Preparation:
    """The clean runs of one scenario, whose engine is open, and the plan.

    ``watch`` defines the clean runs that the user's guards and the ready-made ones watch.
    """

    scenario: Scenario
    engine: Engine
    records: Records
    seed: int
    watch: Watch

    @property
    def runs(self) -> CleanRuns:
        return CleanRuns(self.engine, self.records)

    def take(self, selection: Selection) -> Findings:
        """Execute the clean runs that the selected failure modes are compared with.

        Raise ScenarioError if the target can't be built, BaselineError if the clean run fails.
        """
        findings = self._baseline()
        asked = {fault.mode for fault in plan.selected(selection, index.modes())}
        if asked:
            self._run_without_updates(findings)
        if findings.profile.saved == ():
            findings.profile = replace(findings.profile, unreloadable="the clean run saves no checkpoint")
        elif any(index.modes()[id].judged_by == "reload" for id in asked):
            self._reload(findings)
        return findings

    def plan(self, selection: Selection, profile: TargetProfile) -> list[Planned]:
        """Return the plan; raise UsageError if it can't be made."""
        try:
            return plan.make(selection, profile, index.modes())
        except FaultlabError as error:
            raise UsageError(f"the plan could not be made: {error}") from None

    def _baseline(self) -> Findings:
        seed = self.seed
        seeds = [seed, seed + 1, seed + 2]
        watching = Watching(self.watch, self.runs, seed)
        # Another seed than the twin's, since nothing but the recorder may observe the twin. It runs first and alone, so
        # that the other runs find its modules imported.
        advised = self.watch.advised
        probe = self.runs.order(f"clean-{seed + 1}", seed + 1, probe=True, advice=RECORD if advised else None)
        outcomes = self.runs.run([probe])
        advice = Advice(asked(self.scenario, _run(outcomes[probe.id])) if advised else None)
        watched = {**advice.asked, "record": True} if advice.asked else None
        orders = [self.runs.order(f"clean-{seed}", seed)]
        orders += [
            self.runs.order(id, s, advice=watched)
            for id, s in [(f"clean-{seed}-again", seed), (f"clean-{seed + 2}", seed + 2)]
        ]
        outcomes |= self.runs.run(orders)
        twins = [outcomes[f"clean-{seed}"], outcomes[f"clean-{seed}-again"]]
        first, again = map(_trajectory, twins)
        repeated = [] if first.same_as(again) else self._repeated()
        repeats = [again, *map(_trajectory, repeated)] if repeated else []
        if repeats and advice.asked and first.same_as(repeats[-1]):
            # The guards caused it, and no verdict may depend on a run that they changed.
            repeats, advice.disturbed = [], "a clean run that the ready-made guards watch is not the one without them"
        strays = [nondeterminism.finding(self._traced())] if repeats else []
        if advised:
            watching.record(advice, list(outcomes.values()))
        quiet = watching.let_pass(advice)
        seeded = {s: outcomes[f"clean-{s}"] for s in seeds} | {s: quiet[f"clean-{s}"] for s in watching.quiet_seeds}
        siblings = {s: _trajectory(outcome) for s, outcome in seeded.items()}
        probed = _run(outcomes[probe.id])
        assert probed.profile is not None
        assert probed.circumstances is not None
        profile = self._corrected(probed.profile)
        for module in (profile.namespace, framework_names.BUILT_IN.get(profile.framework, "")):
            if module:
                self.engine.preload(module)
        alerts = _alerts([*outcomes.values(), *repeated, *quiet.values()])
        others = [run for s, run in siblings.items() if s != seed]
        measure = choose_metric(first, self.scenario.monitor, profile.directions, others)
        if profile.framework != framework_names.DEFAULT and not (first.final or first.metrics):
            measure = Measure(measure.metric, None, UNREPORTED)
        metric = measure.metric
        if metric in profile.metrics:
            profile = replace(profile, monitor=metric, monitor_mode=measure.mode)
        if self.scenario.monitor and metric not in {**first.final, **first.metrics}:
            known = sorted({**first.final, **first.metrics})
            remedy = f"{_meant(metric, known)} It logs {', '.join(known) or 'nothing'}.".lstrip()
            if profile.by_hand:
                remedy += " Return it from `train`, or name a function under `evaluate` or its place under `metrics`."
            raise self.scenario.problem(("monitor", "metric"), f"the clean run never logs {metric!r}", remedy)
        warnings = {shown.key for outcome in outcomes.values() for shown in _run(outcome).warnings}
        clean_twin = Twin(
            first, list(siblings.values()), alerts, frozenset(warnings), metric, measure.lower_is_better, repeats
        )
        baseline = Baseline(
            seconds=round(_run(twins[0]).seconds, 4),
            steps=first.steps,
            deterministic=clean_twin.deterministic,
            seeds=[*seeds, *watching.quiet_seeds],
            metrics=first.final or {name: series[-1][1] for name, series in first.metrics.items()},
            false_alarms=_false_alarms(alerts),
            measure={"metric": metric, "better": measure.better, "why": measure.why},
            findings=[
                *strays,
                *outlying(clean_twin, siblings, seed),
                *undirected(measure),
                *reported(measure, first, profile.by_hand),
                *unevaluated(measure, "" if first.final else _run(twins[0]).unevaluated),
            ],
        )
        told = probed.circumstances
        versions = {**told.versions, "python": platform.python_version()}
        return Findings(baseline, clean_twin, profile, told.sources, versions, advice=advice, guards=probed.guards)

    def _run_without_updates(self, findings: Findings) -> None:
        """Add the run that never updates its weights, and the finding if it ends as clean runs do."""
        if not (faults := never_updating(findings.profile, findings.guards)):
            return
        asked = {"fault": faults[0], "also": faults[1:], "profile": findings.profile, "flags": False}
        ended = self.runs.finished([self.runs.order(NEVER_UPDATED, self.seed, **asked)])
        for outcome in ended.values():
            findings.twin = replace(findings.twin, never_updated=outcome.trajectory)
            findings.baseline.findings += blind(findings.twin)

    def _repeated(self) -> list[Outcome]:
        """Return three more clean runs of the same seed, for a target that is not deterministic."""
        seed = self.seed
        orders = [self.runs.order(f"clean-{seed}-{n}", seed) for n in range(3)]
        return list(self.runs.run(orders).values())

    def _traced(self) -> list[Outcome]:
        """Return two clean runs of the seed with a record of each draw from an unseeded source."""
        orders = [self.runs.order(f"traced-{n}", self.seed, traced=True) for n in range(2)]
        return list(self.runs.finished(orders).values())

    def _corrected(self, profile: TargetProfile) -> TargetProfile:
        """Return the target profile with the batch roles that the scenario declares."""
        roles = self.scenario.batch
        for name in ("inputs", "labels"):
            said: str | list[str] | None = getattr(roles, name, None)
            if said is None:
                continue
            prefixes = (said,) if isinstance(said, str) else tuple(said)
            found = tuple(
                path for path in profile.leaves if any(path == p or path.startswith(f"{p}.") for p in prefixes)
            )
            if not found:
                remedy = f"The batch has {', '.join(profile.leaves) or 'no tensors'}."
                raise self.scenario.problem(("batch", name), f"no part of the batch is called {said!r}", remedy)
            profile = replace(profile, inputs=found) if name == "inputs" else replace(profile, labels=found)
        return profile

    def _reload(self, findings: Findings) -> None:
        """Add the twin of runs that continue from their checkpoints, or the reason why there is none."""
        twin, known = findings.twin, findings.profile
        advice = findings.advice.order
        outcomes = self._reloaded(["", "-again"], known, advice)
        if advice and (broken := _why_unreloadable(outcomes, findings)):
            # An observer must not be mistaken for a part of the target.
            advice, outcomes = None, self._reloaded(["", "-again"], known, None)
            if not _why_unreloadable(outcomes, findings):
                findings.advice.disturbed_reload = f"with the ready-made guards beside it {broken}"
        _add_alarms(findings, outcomes)
        for outcome in outcomes:
            self.records.log(outcome)
        if reason := _why_unreloadable(outcomes, findings):
            findings.profile = replace(findings.profile, unreloadable=reason)
            return
        first, again = map(_trajectory, outcomes)
        repeats = [again]
        if not first.same_as(again):
            outcomes += self._reloaded(["-0", "-1", "-2"], known, advice)
            _add_alarms(findings, outcomes[2:])
            repeats += [_trajectory(outcome) for outcome in outcomes[2:] if outcome.run is not None]
        alerts = _alerts(outcomes)
        warnings = {shown.key for outcome in outcomes if outcome.run for shown in outcome.run.warnings}
        found = _run(outcomes[0])
        findings.profile = replace(findings.profile, saves=found.saves, unevaluated=found.unevaluated_best)
        findings.reloaded = replace(
            twin,
            trajectory=first,
            alerts=[*twin.alerts, *alerts],
            warnings=twin.warnings | warnings,
            repeats=repeats,
            name=RESUMED,
        )

    def _reloaded(self, names: Sequence[str], known: TargetProfile, advice: dict[str, Any] | None) -> list[Outcome]:
        """Return clean runs that continue from their checkpoints."""
        asked = {"reload": True, "profile": known, "advice": advice}
        return list(self.engine.run([self.runs.order(f"{RELOADED}{name}", self.seed, **asked) for name in names]))


def deadline(mode: FailureMode, seconds: float) -> float:
    """Return the deadline in seconds of a run with a fault of this mode; ``seconds`` is the time of a clean run."""
    # A fault that hangs reports its activation; after that it needs no longer than the rest of a clean run.
    factor, floor = (_HANG_FACTOR, _HANG_FLOOR) if mode.hangs else (_FACTOR, _FLOOR)
    return max(floor, factor * seconds)


def _why_unreloadable(outcomes: Sequence[Outcome], findings: Findings) -> str:
    """Return why the clean run can't continue from its own checkpoints; empty if it can."""
    for outcome in outcomes:
        run = outcome.run
        if run is not None and not run.saves:
            return f"the clean run saves no checkpoint{_past_trainer(findings.profile)}"
        if run is None or run.trajectory.end != "finished":
            alerts = run.alerts if run is not None else []
            said = alerts[-1].message if alerts else f"its process {in_words(outcome.exit)}"
            said = said.partition("\n")[0]
            blamed = next((f", for the guard {name}" for name in findings.guards if name in said), "")
            return f"the clean run can't continue from its own checkpoints{blamed}: {said}"
    return ""


def _past_trainer(profile: TargetProfile) -> str:
    """Return why a Trainer saves no checkpoint although the module trains; empty if that is not the reason."""
    if profile.framework != framework_names.DEFAULT or not profile.past_trainer:
        return ""
    return f": its optimizers are stepped past {framework_names.title()}, which counts no step and saves only after one"


def _run(outcome: Outcome) -> RunResult:
    """Return the result of a run that trained to its end."""
    assert outcome.run is not None
    return outcome.run


def _trajectory(outcome: Outcome) -> Trajectory:
    return _run(outcome).trajectory


def _alerts(outcomes: Iterable[Outcome]) -> list[Alert]:
    return [alert for outcome in outcomes if outcome.run for alert in outcome.run.alerts]


def _meant(metric: str, known: Sequence[str]) -> str:
    """Return a question that suggests a logged metric, of the same stage if there is one; empty if none is close."""
    stage = _STAGE.split(metric)[0]
    return nearest(metric, [name for name in known if _STAGE.split(name)[0] == stage]) or nearest(metric, known)


def _false_alarms(alerts: Sequence[Alert]) -> list[Alert]:
    return [
        Alert(alert.kind, alert.name, alert.step, alert.message) for alert in _distinct(alerts) if is_false_alarm(alert)
    ]


def _add_alarms(findings: Findings, reloads: Sequence[Outcome]) -> None:
    """Add the alarms on clean runs that continue from their checkpoints, except those about the interruption itself."""
    before = [*findings.twin.alerts, *_alerts(findings.reloads)]
    own = [alert for one in reloads if one.run for alert in one.run.of_interruption]
    alerts = [alert for alert in _alerts(reloads) if alert not in own]
    new = [alert for alert in alerts if not any(alert.same_alert(known) for known in before)]
    said = [replace(alert, message=f"continuing from its checkpoints: {alert.message}") for alert in new]
    findings.baseline.false_alarms += _false_alarms(said)
    findings.reloads = [*findings.reloads, *reloads]
    for outcome in reloads if findings.advice.order else ():
        findings.advice.watched(outcome.id, outcome)


def _distinct(alerts: Sequence[Alert]) -> list[Alert]:
    distinct: list[Alert] = []
    for alert in alerts:
        if not any(alert.same_alert(known) for known in distinct):
            distinct.append(alert)
    return distinct
