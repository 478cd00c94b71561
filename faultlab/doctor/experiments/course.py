"""A training that is examined, and the course of a training: what experiments compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEARNT = 0.9
_OVERSHOT, _POOR = 3.0, 0.3
_LEAST = 10


@dataclass(frozen=True)
class Course:
    """A training: its ``losses``, its ``evaluation`` losses at the end by name, and how often changes ``acted``.

    ``plain`` has the plain losses of a classifier in its place, see `faultlab.doctor.experiments.plain_loss`.
    """

    losses: Sequence[float | None]
    evaluation: Mapping[str, float] = field(default_factory=dict)
    acted: Mapping[str, int] = field(default_factory=dict)
    plain: Sequence[float | None] = ()

    @property
    def plainly(self) -> Course:
        """The course of the plain losses."""
        return Course(self.plain)

    @property
    def end(self) -> float:
        """The mean loss of its last tenth."""
        return _mean(self.losses[-max(1, len(self.losses) // 10) :]) if self.losses else math.inf

    @property
    def start(self) -> float:
        """The mean loss of its first tenth."""
        return _mean(self.losses[: max(1, len(self.losses) // 10)]) if self.losses else math.inf


@dataclass(frozen=True)
class Case:
    """The training that is examined.

    Attributes:
        course: What it shows.
        guess: The loss of the best constant prediction, if known.
        plain_guess: The same for the plain losses.
        rate: The learning rate that its optimizer was made with.
        present: Parts of it that experiments change, see `faultlab.doctor.experiments.presence`.
        settings: Its optimizers' unusual settings, by class.
        inputs: The mean and deviation of its inputs, whether they are floats, finite, constant.
        summed: A loss that is summed over the samples of a batch, with their number, if there is one.
        trained: The training's losses at the end by the names of those of its evaluation, if they are known apart.
        loaded: Whether weights were loaded, or made before the training.
        several: Whether it has several optimizers, whose losses need not fall together.
        cut: Whether only its beginning was seen.
    """

    course: Course
    guess: float | None
    rate: float
    plain_guess: float | None = None
    present: Sequence[str] = ()
    settings: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    summed: Mapping[str, Any] | None = None
    trained: Mapping[str, float] = field(default_factory=dict)
    loaded: bool = False
    several: bool = False
    cut: bool = False

    @property
    def limit(self) -> float:
        """The loss of a model that has learnt nothing: that of a guess, or else that of the beginning."""
        first = self.course.start
        if self.guess and not self.summed:
            # A loss of another scale, such as a weighted one, is compared with its own beginning.
            return float(self.guess) if not math.isfinite(first) or first > 0.5 * self.guess else first
        return first

    def compared_with(self, name: str) -> float:
        """Return the training's loss at the end that an evaluation's is compared with."""
        return self.trained.get(name, self.course.end)

    @property
    def learns(self) -> bool:
        return math.isfinite(self.course.end) and self.course.end < LEARNT * self.limit

    @property
    def overshoots(self) -> bool:
        """True if the first steps made the loss far worse, and the training has not made up for it."""
        losses = [math.inf if one is None else one for one in self.course.losses]
        early = losses[: max(_LEAST, len(losses) // 5)]
        return max(early) > _OVERSHOT * losses[0] and self.course.end > _POOR * losses[0] > 0


def _mean(losses: Sequence[float | None]) -> float:
    numbers = [math.inf if one is None or math.isnan(one) else one for one in losses]
    return sum(numbers) / len(numbers) if numbers else math.inf
