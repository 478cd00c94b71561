"""Trainings with other learning rates and inputs, for a loop that runs as it should and learns nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from faultlab.doctor.finding import Finding, Seen, wrong
from faultlab.doctor.loops.mechanics import trains

_RATES = (0.1, 0.01, 0.001, 10.0, 100.0, 10_000.0, 1_000_000.0)
_FASTEST = 1.0
"""The largest rate to try, beyond the loop's own."""
_LEARNT, _BETTER = 0.9, 0.8
_OVERSHOT, _POOR, _MUCH_BETTER = 3.0, 0.3, 0.5
_LARGE, _SMALL, _OFF = 10.0, 0.05, 5.0

Changes = dict[str, Any]


def wanted(seen: Seen) -> list[Changes]:
    """Return the changes to train with; none if the loop learns, or if it can't be judged."""
    if not trains(seen) or len(seen["losses"]) < 10:
        return []
    if _learns(seen):
        return [{"rate": factor} for factor in _RATES if factor < 1] if _overshoots(seen) else []
    rate = _rate(seen)
    rates: list[Changes] = [{"rate": factor} for factor in _RATES if factor < 1 or rate * factor <= _FASTEST]
    return [*([{"standardized": True}] if _is_off(seen) else []), *rates]


def explained(seen: Seen, trials: Sequence[tuple[Changes, Sequence[float | None]]]) -> list[Finding]:
    """Return the finding that a better trial gives, if there is one."""
    before, limit = _end(seen["losses"]), _limit(seen)
    ends = [(changes, _end(losses)) for changes, losses in trials]
    enough = _MUCH_BETTER if _learns(seen) else _BETTER
    better = [(changes, end) for changes, end in ends if end < enough * before and end < _LEARNT * limit]
    shown = f"the loss ends at {before:.3g}" if math.isfinite(before) else "the loss ends at NaN or infinity"
    if found := [end for changes, end in better if changes.get("standardized")]:
        given = seen["relation"]
        what = (
            f"the inputs are not normalized: their mean is {given['mean']:.3g} and their standard deviation "
            f"{given['deviation']:.3g}, and nothing is learned from them"
        )
        evidence = f"{shown}, and at {found[0]:.3g} with standardized inputs"
        remedy = "Normalize the inputs: subtract the mean of the training data, and divide by its standard deviation."
        return [replace(wrong(what, evidence, remedy), check="inputs")]
    best = min((end for _, end in better), default=math.inf)
    near = [(changes["rate"], end) for changes, end in better if end <= 1.25 * best]
    if not near:
        return []
    factor, end = min(near, key=lambda one: abs(math.log(one[0])))
    rate = _rate(seen)
    if seen["summed"] and factor < 1:
        one = seen["summed"][0]
        what = (
            f"the loss is summed over the {one['samples']} samples of a batch (reduction='sum'), which makes the steps "
            f"too long for the learning rate of {rate:g}"
        )
        remedy = "Write reduction='mean', or divide the learning rate by the batch size."
    else:
        what = f"the learning rate, {rate:g}, is too {'high' if factor < 1 else 'low'}"
        remedy = f"Try lr={rate * factor:g}."
    evidence = f"{shown}, and at {end:.3g} with a learning rate of {rate * factor:g}"
    return [replace(wrong(what, evidence, remedy), check="learning rate")]


def _rate(seen: Seen) -> float:
    return max((float(one) for _, one in seen["rates"]), default=0.0)


def _learns(seen: Seen) -> bool:
    end = _end(seen["losses"])
    return math.isfinite(end) and end < _LEARNT * _limit(seen)


def _overshoots(seen: Seen) -> bool:
    """Return whether the first steps made the loss far worse, and the training has not made up for it."""
    losses = [math.inf if one is None else one for one in seen["losses"]]
    early = losses[: max(10, len(losses) // 5)]
    return max(early) > _OVERSHOT * losses[0] and _end(losses) > _POOR * losses[0] > 0


def _limit(seen: Seen) -> float:
    """Return the loss of a model that has learnt nothing: that of a guess, or else that of the beginning."""
    guess = (seen.get("relation") or {}).get("guess")
    first = _mean(seen["losses"][: max(1, len(seen["losses"]) // 10)])
    if guess and not seen["summed"]:
        # A loss of another scale, such as a weighted one, is compared with its own beginning.
        return float(guess) if not math.isfinite(first) or first > 0.5 * guess else first
    return first if math.isfinite(first) else math.inf


def _end(losses: Sequence[float | None]) -> float:
    return _mean(losses[-max(1, len(losses) // 10) :]) if losses else math.inf


def _mean(losses: Sequence[float | None]) -> float:
    numbers = [math.inf if one is None or math.isnan(one) else one for one in losses]
    return sum(numbers) / len(numbers) if numbers else math.inf


def _is_off(seen: Seen) -> bool:
    found = seen.get("relation") or {}
    if not found or not found["floating"] or not found["finite"] or found["constant"]:
        return False
    deviation = found["deviation"]
    return bool(deviation > _LARGE or deviation < _SMALL or abs(found["mean"]) > _OFF * deviation)
