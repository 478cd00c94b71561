"""The guard that checks that an average of the weights follows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import lookalikes
from faultlab.guards.support.lookalikes import Lookalike
from faultlab.guards.support.training_view import TrainingView

_HALVES = (torch.float16, torch.bfloat16)
_FIRST, _EVERY = 4, 8
_SEARCHES = 3
_ROOM = 0.05


class AverageFollows(Guard):
    """A guard against averages of the weights that move away from them, or whose updates are rounded away.

    It searches this process for copies of the module, or of a part with most of its weights, that require no gradient:
    after the first steps, and if there is none, again after each of the first epochs. Whatever a moving average
    averages, its values lie between those that it began with and those that the weights have had since; in a copy in
    half precision, values that are written and differ from the weights have to change.

    Copies that do not change (teachers, the best weights so far) are allowed, and so are those that are changed by
    gradients, by a copy now and then, or by noise. Averages in dictionaries are not seen.

    Args:
        share: The share of values that have to be out of place.
        window: Steps for which a copy is observed.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    checks = {
        "pushed-away": "an average of the weights moves away from them",
        "rounded-away": "the updates of an average in half precision are rounded away",
    }
    causes = {
        "pushed-away": "average, ema, sign, diverge, update, weights",
        "rounded-away": "average, ema, precision, bfloat16, half, rounded, update, weights",
    }

    def __init__(
        self, share: float = 0.3, window: int = 256, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.share = share
        self.window = window
        self._forget()

    def _forget(self) -> None:
        self._observed: list[_Course] = []
        self._batches = self._searches = 0
        self._is_due = self.dormant = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_observed": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._is_due = self._batches > 0
        self.dormant = self.dormant and not self._is_due

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if (self._batches == _FIRST or self._is_due) and self._searches < _SEARCHES and not self._observed:
            self._is_due = False
            self._searches += 1
            self.looked += 1
            self._observed = [_Course(copy) for copy in lookalikes.of(pl_module)]
        for course in [*self._observed]:
            self._judge(course)
        self.dormant = self._batches > _FIRST and not self._observed

    def _judge(self, course: _Course) -> None:
        if not course.copy.is_alive or course.steps >= self.window:
            self._observed.remove(course)
            return
        course.follow()
        if course.steps % _EVERY:
            return
        outside = course.outside()
        if outside > self.share and course.has_parted:
            self._observed.remove(course)
            self.alarm(
                "pushed-away",
                f"a copy of the weights that is updated beside them, such as a moving average, moves away from them: "
                f"after {course.steps} steps {outside:.0%} of its values lie outside of all that the weights have "
                "been since, and farther with each look",
                "Check the sign of the update: average += (weights - average) * (1 - decay).",
            )
        elif course.copy.dtype in _HALVES and course.written > 2 * _EVERY and course.stuck() > self.share:
            self._observed.remove(course)
            self.alarm(
                "rounded-away",
                f"{course.stuck():.0%} of the values of a copy of the weights in "
                f"{str(course.copy.dtype).removeprefix('torch.')} have not changed in {course.written} updates, though "
                "they differ from the weights: the updates of the average are smaller than the spacing of its numbers",
                "Keep averages of weights in float32.",
            )


class _Course:
    """The course of a copy since it was found."""

    def __init__(self, copy: Lookalike) -> None:
        self.copy = copy
        self.steps = self.written = 0
        self._writes = copy.writes()
        trained, self._first = copy.take()
        self._low = torch.minimum(trained, self._first)
        self._high = torch.maximum(trained, self._first)
        self._distances: list[float] = []
        self._latest = trained, self._first

    def follow(self) -> None:
        """Note the values of a step."""
        self.steps += 1
        before, self._writes = self._writes, self.copy.writes()
        self.written += self._writes != before
        self._latest = self.copy.take()
        trained = self._latest[0]
        self._low, self._high = torch.minimum(self._low, trained), torch.maximum(self._high, trained)

    def outside(self) -> float:
        """Return the share of the copy's values that lie outside of what it may have averaged."""
        copied = self._latest[1]
        room = _ROOM * (self._high - self._low) + 2 * lookalikes.spacing(copied, self.copy.dtype) + 1e-7
        beyond = self._beyond(copied)
        self._distances.append(float(beyond.norm()))
        return float((beyond > room).float().mean())

    def _beyond(self, copied: Tensor) -> Tensor:
        return torch.relu(self._low - copied) + torch.relu(copied - self._high)

    @property
    def has_parted(self) -> bool:
        """True if the copy has gone farther in each of the last looks."""
        latest = self._distances[-3:]
        return len(latest) == 3 and 0 < latest[0] < latest[1] < latest[2]

    def stuck(self) -> float:
        """Return the share of the values that are far from the weights' and have never changed."""
        trained, copied = self._latest
        far = (trained - copied).abs() > lookalikes.spacing(copied, self.copy.dtype)
        return float(((copied == self._first) & far).sum() / far.sum().clamp_min(1)) if bool(far.any()) else 0.0
