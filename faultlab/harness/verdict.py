"""The verdict on a fault: its outcome against the clean twin's. A verdict is earned: no activation, no verdict."""

from __future__ import annotations

import math
import re
import signal
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

from faultlab.catalogue import FailureMode
from faultlab.detectors.notice import Notice
from faultlab.engines.protocol import Outcome
from faultlab.harness.trajectory import Trajectory
from faultlab.results import Detection, FaultResult, Harm, Status

_HIGHER_IS_BETTER = ("acc", "auc", "f1", "precision", "recall", "r2", "iou", "bleu", "rouge", "score", "psnr", "ssim")
_LEAST_HARM = 0.05


@dataclass(frozen=True)
class Twin:
    """The clean runs: the twin itself (same seed), what it and its siblings signalled, and how far runs may stray.

    ``tolerance`` is 0 for a deterministic target, else the distance that two clean runs of one seed may have, and
    ``repeats`` are further clean runs of that seed: what is the same in all of them has to be so in a faulted one.
    """

    trajectory: Trajectory
    others: Sequence[Trajectory] = ()
    notices: Sequence[Notice] = ()
    warnings: frozenset[str] = frozenset()
    tolerance: float = 0.0
    metric: str = ""
    lower_is_better: bool = True
    repeats: Sequence[Trajectory] = ()

    def same_run(self, trajectory: Trajectory) -> bool:
        """Whether the run is the clean one: to the bit, or as near as clean runs of this target are to each other."""
        if not self.tolerance:
            return trajectory.same_as(self.trajectory)
        clean, found = self.trajectory.parts(), trajectory.parts()
        others = [repeat.parts() for repeat in self.repeats]
        steady = [name for name in clean if others and all(other.get(name) == clean[name] for other in others)]
        return (
            clean.keys() == found.keys()
            and all(found[name] == clean[name] for name in steady)
            and trajectory.distance(self.trajectory) <= self.tolerance
            and self._reports_alike(trajectory)
        )

    def _reports_alike(self, trajectory: Trajectory) -> bool:
        """Whether each metric is as near to the clean one as that of clean runs; some stray further than the losses."""
        usual: dict[str, float] = {}
        for one, other in combinations([self.trajectory, *self.repeats], 2):
            for name, gap in one.gaps(other).items():
                usual[name] = max(usual.get(name, 0.0), gap)
        gaps = trajectory.gaps(self.trajectory)
        return all(gap <= max(self.tolerance, 2 * usual.get(name, 0.0)) for name, gap in gaps.items())

    @property
    def spread(self) -> float:
        """The standard deviation of the metric over the clean seeds."""
        known = [found for other in self.others if (found := self.value(other)) is not None and math.isfinite(found)]
        return statistics.stdev(known) if len(known) > 1 else 0.0

    def value(self, trajectory: Trajectory) -> float | None:
        """The metric that harm is measured by, of the same source as the clean run's; None where that is missing.

        The source is the independent evaluation; for a target without one what it logs, or the mean of its last losses.
        """
        if self.metric in self.trajectory.final:
            return trajectory.final.get(self.metric)
        if self.metric in self.trajectory.metrics:
            return trajectory.metrics[self.metric][-1][1] if self.metric in trajectory.metrics else None
        losses = [loss for _, loss in trajectory.losses]
        return statistics.fmean(losses[-max(1, len(losses) // 4) :]) if losses else None


class Monitored(Protocol):
    """What a scenario's ``monitor:`` says."""

    @property
    def metric(self) -> str: ...

    @property
    def mode(self) -> str: ...


def choose_metric(trajectory: Trajectory, monitor: Monitored | None) -> tuple[str, bool]:
    """The metric for harm and whether lower is better: the scenario's, else a validation loss, else what there is."""
    if monitor is not None:
        return monitor.metric, monitor.mode == "min"
    names = sorted(trajectory.final) or sorted(trajectory.metrics)
    losses = [name for name in names if "loss" in name]
    likely = [name for name in losses if name == "val_loss"] + [name for name in losses if "val" in name] + losses
    name = next(iter(likely + names), "loss")
    return name, "loss" in name or not any(word in name.lower() for word in _HIGHER_IS_BETTER)


def judge(fault_id: str, mode: FailureMode, outcome: Outcome, twin: Twin, extra: Sequence[Notice] = ()) -> FaultResult:
    """The verdict on one fault. ``extra`` are notices of a second run, with the Trainer flags off."""
    result = outcome.result or {}
    base: dict[str, Any] = {
        "id": fault_id,
        "mode": mode.id,
        "family": mode.family,
        "severity": mode.severity,
        "activations": result.get("activations", int(outcome.acting is not None)),
        "first_step": result.get("first_step") if outcome.result else outcome.acting,
        "seconds": round(outcome.seconds, 4),
    }

    def verdict(status: Status, reason: str = "", **more: Any) -> FaultResult:
        return FaultResult(**{**base, **more}, status=status, reason=reason)

    if outcome.lost:
        return verdict(Status.ERROR, outcome.lost)
    if "target_error" in result:
        return verdict(Status.ERROR, f"the target could not be built again: {result['target_error']['message']}")
    if result.get("broken"):
        return verdict(Status.ERROR, f"the injector failed: {result['broken']}")
    if outcome.timed_out:
        return timed_out(mode, outcome, verdict)
    if outcome.result is None:
        return died(outcome, verdict)
    if not base["activations"]:
        return verdict(Status.NOT_ACTIVATED, "the fault never changed a value, though nothing says that it can't")

    trajectory = Trajectory.from_json(result["trajectory"])
    notices = [Notice.from_json(notice) for notice in result["notices"]] + list(extra)
    # What was signalled before the fault acted was not signalled because of it.
    caused = [n for n in notices if n.step >= (base["first_step"] or 0) and not n.reached_goal]
    new = [notice for notice in caused if not any(notice.same_alarm(clean) for clean in twin.notices)]
    detections = sorted((detection(n, base["first_step"], mode) for n in new), key=lambda d: (d.worth, d.step))
    warnings = [entry["text"] for entry in result["warnings"] if entry["key"] not in twin.warnings]
    harm = _report_harm(trajectory, twin) if mode.judged_by == "report" else _harm(trajectory, twin)
    seen: dict[str, Any] = {"noticed_by": detections, "warnings": warnings, "harm": harm}
    if detections:
        return verdict(Status.NOTICED, **seen)
    if warnings:
        return verdict(Status.WARNED, **seen)
    if twin.same_run(trajectory):
        how = "as near as clean runs are to each other" if twin.tolerance else "to the bit"
        return verdict(Status.NO_EFFECT, f"the run is the clean one, {how}", **seen)
    if trajectory.end == "exited":
        return verdict(Status.SILENT, "the process exits with status 0 before the training is done", **seen)
    return verdict(Status.SILENT, **seen)


def timed_out(mode: FailureMode, outcome: Outcome, verdict: Callable[..., FaultResult]) -> FaultResult:
    """The verdict on a run that was ended at its deadline."""
    late = f"still running after its deadline of {outcome.seconds:.0f} s"
    if mode.hangs and outcome.acting is not None:
        found = Detection("process", "deadline", outcome.acting, 0, False, late)
        return verdict(Status.NOTICED, noticed_by=[found])
    if outcome.acting is None:
        late += ", and the fault had not acted"
    return verdict(Status.TIMEOUT, late)


def died(outcome: Outcome, verdict: Callable[..., FaultResult]) -> FaultResult:
    """The verdict on a run whose process ended before it said how the run went."""
    killed = f"the process was killed by {_signal_name(-outcome.exit)}"
    how = killed if outcome.exit < 0 else f"the process ended with status {outcome.exit}"
    if outcome.acting is None:
        return verdict(Status.ERROR, f"{how} before the fault acted")
    if outcome.exit == 0:
        return verdict(Status.SILENT, "the process exits with status 0 before the training is done")
    found = Detection("process", "exit", outcome.acting, 0, False, how)
    return verdict(Status.NOTICED, noticed_by=[found])


def detection(notice: Notice, first_step: int | None, mode: FailureMode) -> Detection:
    """What a notice is worth as an answer to the fault."""
    # Stems of words, and only where a word begins: "nan" is not named by "dominant".
    names_cause = any(re.search(rf"(?<![a-z]){re.escape(stem)}", notice.message.lower()) for stem in mode.cause)
    latency = max(0, notice.step - (first_step or 0))
    return Detection(notice.kind, notice.name, notice.step, latency, names_cause, notice.message)


def _harm(trajectory: Trajectory, twin: Twin) -> Harm:
    """How much worse the weights are: those that the run ended with, or those of its best checkpoint if reloaded."""
    harm = _compare(trajectory, twin, twin.value)
    if trajectory.end != "finished" or twin.metric not in twin.trajectory.reloaded or harm.harmful:
        return harm
    return _compare(trajectory, twin, lambda run: run.reloaded.get(twin.metric))


def _report_harm(trajectory: Trajectory, twin: Twin) -> Harm:
    """How far what was reported is from what is true of the same weights, to the better or the worse.

    ``clean`` is the latter. A metric that the clean run reports and the faulted one does not is a harm as well.
    """
    true = _truth(trajectory, twin)
    if trajectory.end != "finished" or true is None:
        return _harm(trajectory, twin)
    reported = trajectory.metrics[twin.metric][-1][1] if twin.metric in trajectory.metrics else None
    if reported is None or not (math.isfinite(reported) and math.isfinite(true)):
        agree = reported is not None and not math.isfinite(reported) and not math.isfinite(true)
        return Harm(twin.metric, _finite(true), _finite(reported), not agree)
    usual = max(
        (gap for run in [twin.trajectory, *twin.others] if (gap := _gap(run, twin.metric)) is not None), default=0
    )
    return Harm(twin.metric, true, reported, abs(reported - true) > max(2 * usual, _LEAST_HARM * abs(true)))


def _truth(trajectory: Trajectory, twin: Twin) -> float | None:
    """What an independent evaluation says of the weights; without one what the clean run reports of the same ones."""
    if twin.metric not in twin.trajectory.metrics:
        return None
    if twin.metric in twin.trajectory.final:
        return trajectory.final.get(twin.metric)
    return twin.trajectory.metrics[twin.metric][-1][1] if trajectory.digest == twin.trajectory.digest else None


def _gap(run: Trajectory, metric: str) -> float | None:
    """How far a clean run's report is from the evaluation of its weights: it may validate before its last step."""
    if metric not in run.metrics or metric not in run.final:
        return None
    gap = abs(run.metrics[metric][-1][1] - run.final[metric])
    return gap if math.isfinite(gap) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _compare(trajectory: Trajectory, twin: Twin, value: Callable[[Trajectory], float | None]) -> Harm:
    clean = value(twin.trajectory)
    if trajectory.end != "finished":
        return Harm(twin.metric, clean, None, True)
    faulty = value(trajectory)
    if clean is None or faulty is None:
        return Harm(twin.metric, clean, faulty, clean is not None)
    if not math.isfinite(faulty):
        return Harm(twin.metric, clean, None, True)
    worse = faulty - clean if twin.lower_is_better else clean - faulty
    return Harm(twin.metric, clean, faulty, worse > max(3 * twin.spread, _LEAST_HARM * abs(clean)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
