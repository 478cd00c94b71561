"""The results of a run's ranks joined into one: what any rank detected counts, and any failed rank fails the run."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from faultlab.core.alert import Alert

if TYPE_CHECKING:
    from faultlab.core.results import Advisory, Outcome, RunResult, ShownWarning


def activity(outcome: Outcome) -> tuple[int, int | None]:
    """Return how often the fault acted on all ranks, and the first step when it acted on any.

    Of ranks that never reported, only whether the fault was about to act is known.
    """
    runs = outcome.runs
    known = [run.first_step for run in runs if run.first_step is not None]
    acted = sum(run.activations for run in runs)
    if runs and (acted or outcome.reported):
        return acted, min(known, default=None)
    # A rank that died of it can't report how often it acted.
    return int(outcome.acting is not None), None if outcome.reported else outcome.acting


def as_one(runs: Sequence[RunResult], ranks: Sequence[int] = ()) -> RunResult:
    """Return the trainings of a group's ranks as one, given in rank order; a single rank's is unchanged.

    ``ranks`` are their numbers, if some ranks never reported.
    Activations add up. Losses, metrics and weights are the first rank's, because its checkpoints are kept; the others'
    are in the trajectory as a digest.
    """
    first, *others = runs
    if not others and list(ranks) in ([], [0]):
        return first
    ended = next((run.trajectory for run in runs if run.trajectory.end != "finished"), first.trajectory)
    spoilt = next((run.trajectory.not_finite for run in runs if run.trajectory.not_finite), "")
    trajectory = replace(
        first.trajectory,
        end=ended.end,
        exit_code=ended.exit_code,
        not_finite=spoilt,
        others=_digest(others),
        apart=_apart(runs),
    )
    return replace(
        first,
        trajectory=trajectory,
        alerts=merged([run.alerts for run in runs], ranks),
        of_interruption=merged([run.of_interruption for run in runs], ranks),
        warnings=_shown(runs),
        activations=sum(run.activations for run in runs),
        first_step=min((run.first_step for run in runs if run.first_step is not None), default=None),
        broken=next((run.broken for run in runs if run.broken), ""),
        waited=next((run.waited for run in runs if run.waited), ""),
        advice=_advised(runs, ranks),
    )


def merged(groups: Sequence[Sequence[Alert]], ranks: Sequence[int] = ()) -> list[Alert]:
    """Return the alerts of all ranks: each once, by step, with its rank unless every rank sent it."""
    numbers = ranks or range(len(groups))
    found: dict[tuple[str, ...], list[tuple[int, Alert]]] = {}
    for rank, alerts in zip(numbers, groups):
        for alert in alerts:
            found.setdefault((alert.kind, alert.name, alert.how, alert.reason, alert.message), []).append((rank, alert))
    joined = []
    for sent in found.values():
        rank, first = min(sent, key=lambda one: one[1].step)
        everywhere = len(numbers) > 1 and {rank for rank, _ in sent} == set(numbers)
        joined.append(first if everywhere or first.rank is not None else replace(first, rank=rank))
    return sorted(joined, key=lambda alert: alert.step)


def _advised(runs: Sequence[RunResult], ranks: Sequence[int]) -> Advisory | None:
    """Return what the ready-made guards of all ranks observed; their costs and known good runs are the first's."""
    said = [run.advice for run in runs]
    first, given = said[0], [one for one in said if one is not None]
    if first is None:
        return None
    return replace(
        first,
        alarms=tuple(merged([one.alarms if one else () for one in said], ranks)),
        of_interruption=tuple(merged([one.of_interruption if one else () for one in said], ranks)),
        broken={guard: why for one in reversed(given) for guard, why in one.broken.items()},
        # A guard that could check something on one rank is not idle.
        idle={guard: why for guard, why in first.idle.items() if all(guard in one.idle for one in given)},
    )


def _digest(runs: Iterable[RunResult]) -> str:
    """Return a digest of the courses of some ranks, bit for bit."""
    return hashlib.sha256(repr([run.trajectory.parts() for run in runs]).encode()).hexdigest()


def _apart(runs: Sequence[RunResult]) -> tuple[str, ...]:
    """Return the states whose digests differ between the ranks."""
    return tuple(name for name in runs[0].states if len({run.states.get(name) for run in runs}) > 1)


def _shown(runs: Sequence[RunResult]) -> list[ShownWarning]:
    shown: dict[str, ShownWarning] = {}
    for warning in [warning for run in runs for warning in run.warnings]:
        shown.setdefault(warning.key, warning)
    return list(shown.values())
