"""The results of a run's ranks joined into one: what any rank detected counts, and any failed rank fails the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from faultlab.core.alert import Alert
from faultlab.core.results import Outcome, RunResult, ShownWarning


def activity(outcome: Outcome) -> tuple[int, int | None]:
    """Return how often the fault acted on all ranks, and the first step when it acted on any.

    Of ranks that never reported, only whether the fault was about to act is known.
    """
    if runs := outcome.runs:
        run = as_one(runs)
        return run.activations, run.first_step
    return int(outcome.acting is not None), None if any(outcome.results) else outcome.acting


def as_one(runs: Sequence[RunResult]) -> RunResult:
    """Return the trainings of a group's ranks as one, given in rank order; a single rank's is unchanged.

    Activations add up. Losses, metrics and weights are the first rank's, because its checkpoints are kept.
    """
    first, *others = runs
    if not others:
        return first
    ended = next((run.trajectory for run in runs if run.trajectory.end != "finished"), first.trajectory)
    spoilt = next((run.trajectory.not_finite for run in runs if run.trajectory.not_finite), "")
    return replace(
        first,
        trajectory=replace(first.trajectory, end=ended.end, exit_code=ended.exit_code, not_finite=spoilt),
        alerts=_distinct([run.alerts for run in runs]),
        of_interruption=_distinct([run.of_interruption for run in runs]),
        warnings=_shown(runs),
        activations=sum(run.activations for run in runs),
        first_step=min((run.first_step for run in runs if run.first_step is not None), default=None),
        broken=next((run.broken for run in runs if run.broken), ""),
    )


def _distinct(groups: Sequence[Sequence[Alert]]) -> list[Alert]:
    return list(dict.fromkeys(alert for alerts in groups for alert in alerts))


def _shown(runs: Sequence[RunResult]) -> list[ShownWarning]:
    shown: dict[str, ShownWarning] = {}
    for warning in [warning for run in runs for warning in run.warnings]:
        shown.setdefault(warning.key, warning)
    return list(shown.values())
