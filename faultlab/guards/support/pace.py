"""When a cheap guard looks at values: at each of the first steps, and later at two in a row of every sixteen.

What is wrong from the beginning shows at once, what goes wrong later and stays so within a few steps, and a guard that
compares a step with the one before still has both. Beyond the first steps, what is wrong in one step alone is seen one
time in eight, unless it leaves a loss that is not finite behind, which is looked for at every step.
"""

from __future__ import annotations

from faultlab.guards.support.training_view import TrainingView

FIRST = 64
EVERY = 16
IN_A_ROW = 2


_told: dict[int, bool] | None = None


def due(trainer: TrainingView) -> bool:
    """Whether values are to be looked at in the step that the trainer is about to take."""
    if _told is None:
        return _is_due(trainer)
    key = id(trainer)
    if key not in _told:
        _told[key] = _is_due(trainer)
    return _told[key]


class OneHook:
    """While one hook calls several guards no step is taken: which one is next, the Trainer is asked once."""

    def __enter__(self) -> None:
        global _told
        self._before, _told = _told, {}

    def __exit__(self, *_: object) -> None:
        global _told
        _told = self._before


def _is_due(trainer: TrainingView) -> bool:
    step = trainer.global_step
    return step < FIRST or step % EVERY < IN_A_ROW
