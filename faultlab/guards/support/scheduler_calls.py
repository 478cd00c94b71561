"""Observation of the schedulers that are stepped in this process, while anyone observes.

A loop of the user's own does not say which schedulers it has, so that their classes' methods ``step`` are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.optim import lr_scheduler

from faultlab.guards.support.observed_calls import ObservedCalls

Observer = Callable[..., None]
"""Is called with each scheduler before it is stepped, and with the arguments of the step."""


def _step(original: Any) -> Any:
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        for observer in CALLS.listening:
            observer(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    return step


def _methods() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    for cls in vars(lr_scheduler).values():
        if isinstance(cls, type) and issubclass(cls, lr_scheduler.LRScheduler) and "step" in vars(cls):
            yield cls, "step", _step


CALLS: ObservedCalls[Observer] = ObservedCalls(_methods)
