"""The verdict on a fault: its outcome compared with the clean twin's. Without activation there is no verdict."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from faultlab.campaign import spread
from faultlab.campaign.metric_choice import decided, lower_by_name
from faultlab.campaign.process_ends import EXITED, dead_ranks, died, timed_out
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection
from faultlab.core.ranks import activity, as_one
from faultlab.core.report import FaultResult, Harm, Status
from faultlab.core.results import Outcome, RunResult
from faultlab.core.trajectory import Trajectory
from faultlab.core.verdict import Answer, Case, decide

_LEAST_HARM = 0.05
_SLACK = 2.0
"""The multiple of the usual distance that a run may be from the nearest of a few clean runs."""
_CERTAIN = 4.0
"""The same multiple for a run that is known to be clean."""
_FAR_OFF = 5.0
"""The multiple of the harmful distance that counts as harm if the metric's better direction is unknown."""
RESUMED, BEST = "resumed run", "best checkpoint"
"""The names of clean runs whose metric differs from that of the run that trains to its end."""
_BLIND = "a run that never updates its weights ends as clean runs do"
_SEEN = (Status.DETECTED, Status.WARNED, Status.NO_EFFECT, Status.SILENT)


@dataclass(frozen=True)
class Twin:
    """The clean runs that a faulted run is compared with: the twin of the same seed, and others to show the spread.

    ``others`` are runs of other seeds, ``repeats`` further runs of the twin's seed. A faulted run that had no effect
    agrees with them wherever all of them agree, and elsewhere is as close to one of them as they are to each other.
    ``alerts`` and ``warnings`` are those of all clean runs. ``lower_is_better`` is None if the direction is unknown.
    ``never_updated`` is a run of the twin's seed whose weights never change. ``name`` is empty for the run that trains
    to its end.
    """

    trajectory: Trajectory
    others: Sequence[Trajectory] = ()
    alerts: Sequence[Alert] = ()
    warnings: frozenset[str] = frozenset()
    metric: str = ""
    lower_is_better: bool | None = True
    repeats: Sequence[Trajectory] = ()
    never_updated: Trajectory | None = None
    name: str = ""

    @cached_property
    def deterministic(self) -> bool:
        """True if all clean runs of the seed are bitwise the same."""
        return all(repeat.same_as(self.trajectory) for repeat in self.repeats)

    def same_run(self, trajectory: Trajectory, certain: bool = False) -> bool:
        """Return True if the run is bitwise the clean one, or as close as clean runs of this target are to each other.

        With ``certain``, for a run that is known to be clean, the limit is wider: few clean runs underestimate it.
        """
        if trajectory.same_as(self.trajectory):
            return True
        found = trajectory.parts()
        if self.deterministic or any(found.get(name) != value for name, value in self._steady.items()):
            return False
        runs = [self.trajectory, *self.repeats]
        gaps = [trajectory.gaps(run) for run in runs]
        nearest = {name: min(gap.get(name, math.inf) for gap in gaps) for name in gaps[0]}
        sizes = self.trajectory.sizes()
        slack, floor = (_CERTAIN, _LEAST_HARM) if certain else (_SLACK, 0.0)
        return all(
            gap <= max(slack * self._usual.get(name, 0.0), floor * sizes.get(name, 0.0))
            for name, gap in nearest.items()
        )

    @cached_property
    def _steady(self) -> dict[str, str]:
        """The parts in which all clean runs of the seed agree bitwise."""
        others = [repeat.parts() for repeat in self.repeats]
        clean = self.trajectory.parts()
        return {name: value for name, value in clean.items() if all(other.get(name) == value for other in others)}

    @cached_property
    def _usual(self) -> dict[str, float]:
        """The usual distance of clean runs of the seed in each part."""
        gaps: dict[str, list[float]] = {}
        for one, other in combinations([self.trajectory, *self.repeats], 2):
            for name, gap in one.gaps(other).items():
                gaps.setdefault(name, []).append(gap)
        return {name: spread.usual_gap(found) for name, found in gaps.items()}

    @cached_property
    def _values(self) -> list[float]:
        return [found for other in self.others if (found := self.value(other)) is not None]

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the metric over the clean seeds, without seeds that diverge."""
        return spread.deviation(self._values)

    def least(self, clean: float) -> float:
        """Return the least distance from the clean run's metric that is harm."""
        return max(3 * self.spread, _LEAST_HARM * abs(clean))

    @cached_property
    def blind(self) -> bool:
        """True if even a run that never updates its weights is not worse than the clean one by what counts as harm."""
        if self.never_updated is None or self.lower_is_better is None:
            return False
        harm = _compare(self.never_updated, replace(self, never_updated=None), self.value)
        return not harm.harmful and not harm.unknown

    @cached_property
    def diverges(self) -> bool:
        """True if the twin's own metric diverges from those of other clean seeds."""
        own = self.value(self.trajectory)
        return own in self._values and own not in spread.typical(self._values)

    def value(self, trajectory: Trajectory) -> float | None:
        """Return the measure of harm, from the same source as the clean run's; None if it is missing.

        The source is the independent evaluation; for a target without one its log, or the mean of its last losses.
        """
        if self.metric in self.trajectory.final:
            return trajectory.final.get(self.metric)
        if self.metric in self.trajectory.metrics:
            return trajectory.metrics[self.metric][-1][1] if self.metric in trajectory.metrics else None
        losses = [loss for _, loss in trajectory.losses]
        return statistics.fmean(losses[-max(1, len(losses) // 4) :]) if losses else None


def judge(fault_id: str, mode: FailureMode, outcome: Outcome, twin: Twin, extra: Sequence[Alert] = ()) -> FaultResult:
    """Return the verdict on one fault. ``extra`` has the alerts of a second run without Trainer flags."""
    case = _Training(mode, outcome, twin, extra)
    answer = decide(case)
    seen: dict[str, Any] = {}
    if answer.status in _SEEN and case.died() is None:
        seen = {"warnings": case.warnings, "harm": case.harm}
    return FaultResult(
        id=fault_id,
        mode=mode.id,
        family=mode.family,
        severity=mode.severity,
        status=answer.status,
        reason=answer.reason,
        activations=case.activations,
        first_step=case.first_step,
        detected_by=list(answer.detected_by),
        seconds=round(outcome.seconds, 4),
        **seen,
    )


class _Training(Case):
    """A training with a fault, compared with its clean twin."""

    def __init__(self, mode: FailureMode, outcome: Outcome, twin: Twin, extra: Sequence[Alert]) -> None:
        self.activations, self.first_step = activity(outcome)
        self._mode = mode
        self._outcome = outcome
        self._twin = twin
        self._extra = extra

    def failed(self) -> str | None:
        if self._outcome.lost:
            return self._outcome.lost
        if self._outcome.target_error is not None:
            return f"the target could not be built again: {self._outcome.target_error.message}"
        if self._outcome.unreadable:
            return f"the run's result can't be read: {self._outcome.unreadable}"
        return f"the injector failed: {self._outcome.broken}" if self._outcome.broken else None

    def died(self) -> Answer | None:
        if self._outcome.timed_out:
            late = timed_out(self._mode, self._outcome)
            # The ranks that wait for another have reported what their guards alerted about before.
            return (
                replace(late, detected_by=self._sorted([*late.detected_by, *self._alerted()])) if self._partly else late
            )
        return None if self._outcome.reported or self._partly else died(self._outcome)

    @property
    def _partly(self) -> bool:
        """True if some rank of several reported, so that the others' end is one detection among others."""
        return len(self._outcome.results) > 1 and bool(self._outcome.runs)

    def never_acted(self) -> str | None:
        return None if self.activations else "the fault never changed a value although it applies to the target"

    def detected_by(self) -> Sequence[Detection]:
        return self._sorted([*self._alerted(), *dead_ranks(self._outcome)])

    @staticmethod
    def _sorted(found: Sequence[Detection]) -> list[Detection]:
        return sorted(found, key=lambda detection: (detection.worth, detection.step))

    def _alerted(self) -> list[Detection]:
        alerts, first = [*self._run.alerts, *self._extra], self.first_step
        # An alert before the first activation is not caused by the fault.
        caused = [n for n in alerts if n.step >= (first or 0) and not n.finds_nothing]
        new = [alert for alert in caused if not any(alert.same_alert(clean) for clean in self._twin.alerts)]
        return [detection(n, first, self._mode) for n in new]

    def warned(self) -> str | None:
        return "" if self.warnings else None

    def unchanged(self) -> str | None:
        if self.harm.harmful or not self._twin.same_run(self.trajectory):
            return None
        alike = self.trajectory.same_as(self._twin.trajectory)
        return f"the run is the clean one, {'to the bit' if alike else 'as near as clean runs are to each other'}"

    def silence(self) -> str:
        if self.trajectory.end == "exited" or (self._partly and not self._outcome.reported):
            return EXITED
        return f"the ranks end with different {' and '.join(apart)}" if (apart := self._apart) else ""

    @property
    def _apart(self) -> list[str]:
        """The states in which the ranks differ at the end, and those of the clean run do not."""
        return [state for state in self.trajectory.apart if state not in self._twin.trajectory.apart]

    @cached_property
    def _run(self) -> RunResult:
        return as_one(self._outcome.runs, [rank for rank, run in enumerate(self._outcome.results) if run is not None])

    @property
    def trajectory(self) -> Trajectory:
        return self._run.trajectory

    @cached_property
    def warnings(self) -> list[str]:
        """The warnings that clean runs do not have."""
        return [shown.text for shown in self._run.warnings if shown.key not in self._twin.warnings]

    @cached_property
    def harm(self) -> Harm:
        if self._run.unusable:
            seen_by = f"the checkpoint can't be used: {self._run.unusable}"
            clean = _finite(self._twin.value(self._twin.trajectory))
            return Harm(self._twin.metric, clean, None, True, "", seen_by, clean_of=self._twin.name)
        evaluated = Evaluated(self._run.unevaluated, self._run.in_place)
        judged = _report_harm if self._mode.judged_by == "report" else _harm
        harm = _spoilt(self.trajectory, self._twin, judged(self.trajectory, self._twin, evaluated))
        if "parameters" not in self._apart or harm.harmful:
            return harm
        return replace(harm, harmful=True, unknown="", seen_by="the ranks end with different parameters")


def detection(alert: Alert, first_step: int | None, mode: FailureMode) -> Detection:
    """Return an alert as a detection of the fault."""
    # Stems match only at the beginning of a word: "dominant" does not name "nan".
    # The causes that a ready-made guard declares don't change with the wording of its message.
    words = (alert.causes or alert.message).lower()
    names_cause = any(re.search(rf"(?<![a-z]){re.escape(stem)}", words) for stem in mode.cause)
    latency = max(0, alert.step - (first_step or 0))
    return Detection(alert.kind, alert.name, alert.step, latency, names_cause, alert.message, rank=alert.rank)


@dataclass(frozen=True)
class Evaluated:
    """The result of a run's evaluation: the error of a ``failed`` one, of the weights or of the faulted network.

    ``in_place`` has the metrics of the network with the fault still in it, if the fault may be in their computation.
    """

    failed: str = ""
    in_place: Mapping[str, float] = field(default_factory=dict)


def _harm(trajectory: Trajectory, twin: Twin, evaluated: Evaluated) -> Harm:
    """Return the harm to the final weights, or to those of the best checkpoint if that is reloaded."""
    harm = _untouched(trajectory, twin, evaluated)
    if trajectory.end != "finished" or twin.metric not in twin.trajectory.reloaded or harm.harmful:
        return harm
    best = _compare(trajectory, replace(twin, name=BEST), lambda run: run.reloaded.get(twin.metric))
    return harm if harm.unknown and not best.harmful else best


def _spoilt(trajectory: Trajectory, twin: Twin, harm: Harm) -> Harm:
    """Return the harm; weights that are not finite are harmful even if the metric hides that."""
    spoilt = trajectory.not_finite if not twin.trajectory.not_finite else ""
    if not spoilt or harm.harmful:
        return harm
    return replace(harm, harmful=True, unknown="", seen_by=f"{spoilt} is not finite")


def _untouched(trajectory: Trajectory, twin: Twin, evaluated: Evaluated) -> Harm:
    """Return the harm by a metric that the fault does not affect, which may not be the twin's."""
    harm = _compare(trajectory, twin, twin.value, evaluated.failed)
    if trajectory.end != "finished" or harm.harmful:
        return harm
    if evaluated.failed and twin.metric in trajectory.final and not harm.unknown:
        # The weights were evaluated without the fault, so the faulted network failed.
        why = f"the network with the fault still in it could not be evaluated: {evaluated.failed}"
        return replace(harm, unknown=why)
    if not evaluated.in_place:
        return harm
    in_place = _in_place(trajectory, twin, evaluated)
    return harm if evaluated.failed and harm.unknown and not in_place.harmful else in_place


def _in_place(trajectory: Trajectory, twin: Twin, evaluated: Evaluated) -> Harm:
    """Return the harm by the output of the network with the fault still in it."""
    faulty = replace(trajectory, final=dict(evaluated.in_place))
    for name in decided([twin.metric, *faulty.final]):
        if name in twin.trajectory.final and name in faulty.final:
            lower = twin.lower_is_better if name == twin.metric else lower_by_name(name)
            by_another = replace(twin, metric=name, lower_is_better=lower)
            return _compare(faulty, by_another, by_another.value)
    in_place = _compare(faulty, twin, twin.value)
    if in_place.unknown or in_place.harmful or not _too_good(in_place, twin):
        return in_place
    return replace(in_place, unknown=f"{twin.metric} is computed by what the fault has changed")


def _too_good(harm: Harm, twin: Twin) -> bool:
    """Return True if a metric is better than the clean one by a distance that would be harm if it were worse."""
    return harm.clean is not None and harm.faulty is not None and abs(harm.faulty - harm.clean) > twin.least(harm.clean)


def _report_harm(trajectory: Trajectory, twin: Twin, evaluated: Evaluated) -> Harm:
    """Return the distance of the reported metric from the true one of the same weights, in either direction.

    ``clean`` is the true one. A metric that the clean run reports and the faulted one does not is harm too.
    """
    true = _truth(trajectory, twin)
    if trajectory.end != "finished" or true is None:
        return _harm(trajectory, twin, evaluated)
    reported = trajectory.metrics[twin.metric][-1][1] if twin.metric in trajectory.metrics else None
    if reported is None or not (math.isfinite(reported) and math.isfinite(true)):
        agree = reported is not None and not math.isfinite(reported) and not math.isfinite(true)
        return Harm(twin.metric, _finite(true), _finite(reported), not agree)
    gaps = [gap for run in [twin.trajectory, *twin.others] if (gap := _gap(run, twin.metric)) is not None]
    usual = max(spread.typical(gaps), default=0.0)
    return Harm(twin.metric, true, reported, abs(reported - true) > max(2 * usual, _LEAST_HARM * abs(true)))


def _truth(trajectory: Trajectory, twin: Twin) -> float | None:
    """Return the independent evaluation of the weights; without one the clean run's report on the same weights."""
    if twin.metric not in twin.trajectory.metrics:
        return None
    if twin.metric in twin.trajectory.final:
        return trajectory.final.get(twin.metric)
    return twin.trajectory.metrics[twin.metric][-1][1] if trajectory.digest == twin.trajectory.digest else None


def _gap(run: Trajectory, metric: str) -> float | None:
    """Return the distance of a clean run's report from the evaluation: it may validate before its last step."""
    if metric not in run.metrics or metric not in run.final:
        return None
    gap = abs(run.metrics[metric][-1][1] - run.final[metric])
    return gap if math.isfinite(gap) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _compare(trajectory: Trajectory, twin: Twin, value: Callable[[Trajectory], float | None], failed: str = "") -> Harm:
    clean = value(twin.trajectory)
    if trajectory.end != "finished":
        return Harm(twin.metric, _finite(clean), None, True, clean_of=twin.name)
    faulty = value(trajectory)

    def unknown(why: str) -> Harm:
        return Harm(twin.metric, _finite(clean), _finite(faulty), False, why, clean_of=twin.name)

    if clean is None:
        return unknown(f"the clean run gives no {twin.metric}")
    if not math.isfinite(clean):
        return unknown(f"the clean run's {twin.metric} is not finite")
    if faulty is None:
        return unknown(f"the weights could not be evaluated: {failed}" if failed else f"it gives no {twin.metric}")
    if not math.isfinite(faulty):
        return Harm(twin.metric, clean, None, True, clean_of=twin.name)
    if twin.diverges:
        return unknown(f"the clean run of this seed diverges itself, by the {twin.metric} of other seeds")
    least = twin.least(clean)
    if twin.lower_is_better is not None:
        worse = faulty - clean if twin.lower_is_better else clean - faulty
        if worse <= least and twin.blind:
            return unknown(_BLIND)
        return Harm(twin.metric, clean, faulty, worse > least, least=round(least, 6), clean_of=twin.name)
    far = abs(faulty - clean)
    if least < far <= _FAR_OFF * least:
        return unknown(f"the better direction of {twin.metric} is unknown")
    return Harm(twin.metric, clean, faulty, far > least, least=round(least, 6), clean_of=twin.name)
