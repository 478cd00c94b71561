"""The length of a short training: enough steps to learn something, chosen by counts and CPU time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

FIRST = 8
"""Batches per epoch of the first attempt, which measures the cost of a step."""
_EPOCHS = 2
_LEAST, _USUAL, _MOST = 16, 32, 128
_WIDEST = 64
_MOST_EPOCHS = 32
_USUAL_CPU, _MOST_CPU = 12.0, 4.0
"""CPU time that the usual length may take, and a longer one, s."""
_CLEAR_CPU = 1.0
"""CPU time that a longer training may take once the loss falls at all, s."""
_ERRORS = 2.0
_CLEAR = 3.0
"""The multiple of the usual difference between two batches' losses that a clear fall exceeds."""


@dataclass(frozen=True)
class Length:
    """The number of epochs, and of batches per epoch at most."""

    epochs: int = _EPOCHS
    batches: int = FIRST

    @property
    def steps(self) -> int:
        """Training steps, if every epoch has that many batches."""
        return self.epochs * self.batches


def of(steps: int, available: int | None) -> Length:
    """Return the length for at least that many steps if an epoch has ``available`` batches, or None for an unknown
    number."""
    batches = min(max(FIRST, steps // _EPOCHS), _WIDEST, available or _WIDEST)
    return Length(min(max(_EPOCHS, math.ceil(steps / batches)), _MOST_EPOCHS), batches)


def own(epochs: object, available: int | None) -> Length | None:
    """Return the length that a script asks for, or None if that is unknown, too long, or one epoch."""
    if not isinstance(epochs, int) or not available or epochs < _EPOCHS:
        return None
    asked = Length(epochs, available)
    return asked if _USUAL <= asked.steps <= _MOST else None


def longer(available: int | None, each: Callable[[], float], asked: Length | None = None) -> Iterator[Length]:
    """Yield the lengths to try, shortest first, until something is learned.

    Args:
        available: Batches that an epoch has, or None if unknown.
        each: Returns the CPU time of one more step, s, as far as the trainings until then have shown it.
        asked: The script's own length, which is tried first if it is short enough.
    """
    usual = _USUAL if each() * _USUAL <= _USUAL_CPU else _LEAST
    if asked is not None and each() * asked.steps <= _CLEAR_CPU:
        yield asked
        usual = asked.steps
    else:
        yield of(usual, available)
    steps = 2 * usual
    while steps <= _MOST and each() * steps <= _MOST_CPU:
        yield of(steps, available)
        steps *= 2


def marginal(spent: Mapping[int, float]) -> float:
    """Return the CPU time of one more step, s: the least difference between two trainings, for each step.

    A busy machine makes CPU times several times longer, and never shorter.

    Args:
        spent: The CPU time of each training, s, with its set-up, by its number of steps.
    """
    costs = [
        max(0.0, later - cpu) / (more - steps) for (steps, cpu), (more, later) in combinations(sorted(spent.items()), 2)
    ]
    return min(costs, default=0.0)


def learns(losses: Sequence[float]) -> bool:
    """Return whether a loss falls by more than it varies, from the first quarter of the steps to the last."""
    count = len(losses) // 4
    if count < 2 or not all(map(math.isfinite, losses)):
        return False
    first, last = losses[:count], losses[-count:]
    error = math.sqrt((_variance(first) + _variance(last)) / count)
    return _mean(first) - _mean(last) > _ERRORS * error


def is_enough(losses: Sequence[float], each: float) -> bool:
    """Return whether no longer training is needed: the loss falls clearly, or it falls and twice the steps cost much.

    Seeds of a training whose loss has just begun to fall may end no better than a model that never learns.

    Args:
        losses: The loss of each step.
        each: CPU time of one more step, s.
    """
    if not learns(losses):
        return False
    count = len(losses) // 4
    # Differences of neighbors have little of the fall itself.
    noise = math.sqrt(_mean([(one - other) ** 2 for one, other in pairwise(losses)]))
    fall = _mean(losses[:count]) - _mean(losses[-count:])
    return fall > _CLEAR * noise or each * 2 * len(losses) > _CLEAR_CPU


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)
