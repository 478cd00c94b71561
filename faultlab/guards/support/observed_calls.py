"""Observation of functions of other packages, which are replaced while anyone observes their calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from faultlab.guards.support.trials import trying

Observer = TypeVar("Observer")


class ObservedCalls(Generic[Observer]):
    """Functions whose replacements call those who are ``listening``.

    They are replaced when the first observer comes and restored when the last one leaves.

    Args:
        functions: Returns the owner of each function, its name there, and what makes its replacement of the original.
    """

    def __init__(self, functions: Callable[[], Iterable[tuple[Any, str, Callable[[Any], Any]]]]) -> None:
        self.observers: list[Observer] = []
        self._functions = functions
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    @property
    def listening(self) -> tuple[Observer, ...]:
        """The observers, none while a guard runs a copy of the module: its calls are not the training's."""
        return () if trying() else tuple(self.observers)

    def observe(self, observer: Observer) -> None:
        """Have the replacements call the observer from now on."""
        if not self.observers:
            for owner, name, make in self._functions():
                original = vars(owner)[name]
                ours = functools.wraps(original)(make(original))
                setattr(owner, name, ours)
                self._replaced.append((owner, name, original, ours))
        self.observers.append(observer)

    def leave(self, observer: Observer) -> None:
        """Stop calling the observer."""
        if observer in self.observers:
            self.observers.remove(observer)
        while not self.observers and self._replaced:
            owner, name, original, ours = self._replaced.pop()
            # Another library may have replaced it since; ours then calls the original and nothing else.
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
