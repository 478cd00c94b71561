"""Ready-made guards: Lightning callbacks that notice a training which has gone wrong and say why.

``Trainer(callbacks=guards.all())`` has all the cheap ones. They need nothing of faultlab but this package.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

from faultlab.guards.guard import LEVELS, Action, Alarm, Guard, GuardWarning, Level
from faultlab.guards.guard_set import GuardSet
from faultlab.guards.heartbeat import Heartbeat
from faultlab.guards.known_good import KnownGood, KnownGoodRecorder
from faultlab.guards.steps_taken import StepsTaken

__all__ = [
    "Alarm",
    "Guard",
    "GuardSet",
    "GuardWarning",
    "Heartbeat",
    "KnownGood",
    "KnownGoodRecorder",
    "StepsTaken",
    "all",
    "classes",
]


def classes(level: Level = "full") -> list[type[Guard]]:
    """The guards of a level: the cheap ones, or all of them."""
    if level not in LEVELS:
        raise ValueError(f"the level of guards is {' or '.join(LEVELS)}, not {level!r}")
    found = [value for name in __all__ if isinstance(value := globals()[name], type) and value is not Guard]
    return [cls for cls in found if issubclass(cls, Guard) and (level == "full" or cls.level == "cheap")]


def all(
    level: Level = "cheap",
    *,
    monitor: str = "",
    mode: str = "min",
    leave_out: Iterable[str] = (),
    action: Action = "raise",
) -> GuardSet:
    """Every ready-made guard of a level as one callback.

    ``monitor`` is the metric that counts, where the run logs one, and ``mode`` says whether lower ("min") or higher
    ("max") is better. ``leave_out`` names guards that do not fit the training.
    """
    left_out = set(leave_out)
    if unknown := left_out - {cls.__name__ for cls in classes()}:
        raise ValueError(f"no such guard: {', '.join(sorted(unknown))}")
    chosen: builtins.list[Guard] = []
    for cls in classes(level):
        if cls.__name__ not in left_out:
            arguments: dict[str, Any] = cls.arguments(monitor, mode)
            chosen.append(cls(action=action, **arguments))
    return GuardSet(chosen)
