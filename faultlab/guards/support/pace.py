"""The steps when cheap guards look at values: each of the first ones, later two in a row of every sixteen.

A failure from the start is detected at once, a later one that persists within a few steps, and two steps in a row
suffice to compare a step with the one before. After the first steps, a failure of a single step is seen one time in
eight, unless it leaves a loss that is not finite, which is checked in every step.
"""

from __future__ import annotations

from faultlab.guards.support.training_view import TrainingView

FIRST = 64
EVERY = 16
IN_A_ROW = 2


_told: dict[int, bool] | None = None


def due(trainer: TrainingView) -> bool:
    """Return whether guards look at values in the step that the trainer is about to take."""
    if _told is None:
        return _is_due(trainer)
    key = id(trainer)
    if key not in _told:
        _told[key] = _is_due(trainer)
    return _told[key]


class OneHook:
    """The context of one hook that calls several guards: the next step is read from the Trainer only once."""

    def __enter__(self) -> None:
        global _told
        self._before, _told = _told, {}

    def __exit__(self, *_: object) -> None:
        global _told
        _told = self._before


def _is_due(trainer: TrainingView) -> bool:
    step = trainer.global_step
    return step < FIRST or step % EVERY < IN_A_ROW
