"""The planned length of a training, in epochs, batches and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from faultlab.guards.support.training_view import TrainingView


@dataclass(frozen=True)
class Plan:
    """The length of a training, as far as it is known before it starts.

    ``epochs``, ``batches`` and ``steps`` (of the optimizer) are those that it will take; ``steps_an_epoch`` is rounded
    up. ``all_steps`` are the numbers of steps that a user may have calculated, for instance without
    `limit_train_batches`, `max_steps` or accumulation. ``all_batches`` is the number of batches without
    `limit_train_batches`, ``batches_an_epoch`` that of an epoch.
    """

    epochs: int
    batches: int
    steps: int
    steps_an_epoch: int
    all_steps: frozenset[int]
    all_batches: int
    batches_an_epoch: int = 0

    @classmethod
    def of(cls, trainer: TrainingView) -> Plan | None:
        """Return the Trainer's plan, None if it depends on what is unknown before the training."""
        batches = _whole(trainer.num_training_batches)
        if not batches:
            return None
        accumulated = max(1, trainer.accumulate_grad_batches)
        an_epoch = math.ceil(batches / accumulated)
        planned, limit = _whole(trainer.max_epochs), _whole(trainer.max_steps)
        if not planned and not limit:
            return None
        steps = min(planned * an_epoch or limit, limit or planned * an_epoch)
        epochs = math.ceil(steps / an_epoch)
        whole = max(batches, _batches(trainer.train_dataloader))
        reckoned = {steps}
        for count in (batches, whole):
            for times in (epochs, planned or epochs):
                reckoned |= {count * times, math.ceil(count / accumulated) * times}
        taken = min(batches * epochs, steps * accumulated)
        all_batches = max(taken, whole * epochs * (whole > batches))
        return cls(epochs, taken, steps, an_epoch, frozenset(reckoned), all_batches, batches)

    @classmethod
    def past(cls, trainer: TrainingView) -> Plan | None:
        """Return the length that a training has had at its end, None if it has not run for whole epochs."""
        elapsed, epochs = Elapsed.of(trainer), trainer.current_epoch + 1
        batches, steps = elapsed.batches // epochs, -(-elapsed.steps // epochs)
        if not steps or elapsed.batches % epochs:
            return None
        reckoned = frozenset({elapsed.steps, elapsed.batches})
        return cls(epochs, elapsed.batches, elapsed.steps, steps, reckoned, elapsed.batches, batches)


@dataclass(frozen=True)
class Elapsed:
    """The batches and optimizer steps of a training so far."""

    batches: int
    steps: int

    @classmethod
    def of(cls, trainer: TrainingView) -> Elapsed:
        """Return those of a loop, whose count of batches begins with the first one."""
        last = trainer.total_batch_idx
        return cls(0 if last is None else last + 1, trainer.global_step)

    def __sub__(self, other: Elapsed) -> Elapsed:
        return Elapsed(self.batches - other.batches, self.steps - other.steps)


def _whole(value: Any) -> int:
    """Return a number as an integer, 0 if it is not a number or is infinite."""
    return int(value) if isinstance(value, (int, float)) and 0 < value < math.inf else 0


def _batches(loader: Any) -> int:
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return 0
