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
    `limit_train_batches`.
    """

    epochs: int
    batches: int
    steps: int
    steps_an_epoch: int
    all_steps: frozenset[int]
    all_batches: int

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
        return cls(epochs, taken, steps, an_epoch, frozenset(reckoned), max(taken, whole * epochs * (whole > batches)))


def _whole(value: Any) -> int:
    """Return a number as an integer, 0 if it is not a number or is infinite."""
    return int(value) if isinstance(value, (int, float)) and 0 < value < math.inf else 0


def _batches(loader: Any) -> int:
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return 0
