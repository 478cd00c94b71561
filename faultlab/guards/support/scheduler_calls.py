"""Observation of the schedulers that are stepped in this process, while anyone observes.

A loop of the user's own does not say which schedulers it has. Their classes' methods ``step`` are replaced when the
first observer comes and restored when the last one leaves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch.optim import lr_scheduler

_observers: list[Callable[[Any], None]] = []
_replaced: list[tuple[Any, Any, Any]] = []


def observe(observer: Callable[[Any], None]) -> None:
    """Call the observer with each scheduler before it is stepped, from now on."""
    if not _observers:
        for cls in vars(lr_scheduler).values():
            if isinstance(cls, type) and issubclass(cls, lr_scheduler.LRScheduler) and "step" in vars(cls):
                _replace(cls)
    _observers.append(observer)


def leave(observer: Callable[[Any], None]) -> None:
    """Stop calling the observer."""
    if observer in _observers:
        _observers.remove(observer)
    while not _observers and _replaced:
        cls, original, ours = _replaced.pop()
        # Another library may have replaced it since; ours then calls the original and nothing else.
        if vars(cls).get("step") is ours:
            cls.step = original


def _replace(cls: Any) -> None:
    original = vars(cls)["step"]

    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        for observer in [*_observers]:
            observer(self)
        return original(self, *args, **kwargs)

    cls.step = step
    _replaced.append((cls, original, step))
