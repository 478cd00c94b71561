"""The steps when cheap guards look at values: each of the first ones, later two in a row now and then.

Looks become rarer as the training continues: two of sixteen steps, from step 256 on two of 32, and from step 512 on two
of 128. A failure from the start is detected at once, a later one that persists within a quarter of the steps so far,
and two steps in a row suffice to compare a step with the one before. After the first steps, a failure of a single step
is usually missed, unless it leaves a loss that is not finite, which is checked in every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from faultlab.guards.support.training_view import TrainingView

FIRST = 64
IN_A_ROW = 2
INTERVALS = ((256, 16), (512, 32))
"""Steps, with the interval between looks before them."""
RAREST = 128
"""The interval between looks after these steps."""

Hook = TypeVar("Hook", bound=Callable[..., Any])

_told: dict[int, bool] | None = None


def due(trainer: TrainingView) -> bool:
    """Return whether guards look at values in the step that the trainer is about to take."""
    if _told is None:
        return is_look(trainer.global_step)
    key = id(trainer)
    if key not in _told:
        _told[key] = is_look(trainer.global_step)
    return _told[key]


class OneHook:
    """The context of one hook that calls several guards: the next step is read from the Trainer only once.

    Args:
        told: What is known of it already, by the Trainer's identity.
    """

    def __init__(self, told: dict[int, bool] | None = None) -> None:
        self._now = {} if told is None else told

    def __enter__(self) -> None:
        global _told
        self._before, _told = _told, self._now

    def __exit__(self, *_: object) -> None:
        global _told
        _told = self._before


def is_look(step: int) -> bool:
    """Return whether guards look at values in a step."""
    return step % interval(step) < IN_A_ROW


def interval(step: int) -> int:
    """Return the number of steps from two looks in a row to the next two; 1 if guards look at every step."""
    if step < FIRST:
        return 1
    return next((length for end, length in INTERVALS if step < end), RAREST)


def sparse(hook: Hook) -> Hook:
    """Mark a hook of batches that has something to do only around looks, so that a set of guards calls it rarely.

    A set leaves it out in batches between looks, except for the first of them, and for one that follows another event,
    such as the start of an epoch or a validation. So such a hook may forget what it knows if no look is due.

    Where epochs are shorter than the interval between looks, the start of an epoch is such an event once an interval. A
    hook at the start or the end of an epoch that is marked is called only then, and at the end of the last epoch.
    """
    hook.sparse = True  # type: ignore[attr-defined]
    return hook


def counting(hook: Hook) -> Hook:
    """Mark a hook of batches that only counts them, by as many as its argument ``times``.

    A set of guards calls it once for several batches, before anything that follows them.
    """
    hook.counting = True  # type: ignore[attr-defined]
    return hook


def unusual(hook: Hook) -> Hook:
    """Mark a hook of batches that has nothing to do in usual ones, which leave what the guard knows as it was.

    A set of guards calls it only once a batch between looks turns out to be another, see `usual_batches`.
    """
    hook.unusual = True  # type: ignore[attr-defined]
    return hook
