"""Where the training is: the step, the epoch and the stage, for triggers, latencies and fork points alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches


class Clock:
    """Counts training steps over all epochs, from 0, one for every batch that training begins.

    Each framework derives its own, which follows its trainings and tells epoch and stage. ``trainer`` is whatever
    drives the training at the moment, None before any does. Before the first batch ``step`` is 0.
    """

    def __init__(self) -> None:
        self.step = 0
        self.trainer: Any = None
        self.on_step: list[Callable[[int], None]] = []
        self._begun = 0
        self._beside = 0

    def attach(self, patches: Patches) -> None:
        """Follow every training of the process.

        Args:
            patches: Undoes it.
        """
        raise NotImplementedError

    def tick(self) -> None:
        """A training step begins."""
        self.step = self._begun
        self._begun += 1
        for listener in list(self.on_step):
            listener(self.step)

    def restart(self) -> None:
        """Another training begins, whose steps are counted from 0 again."""
        self.step = self._begun = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What happens inside the context is not counted."""
        before = self.step, self._begun, self.trainer
        try:
            yield
        finally:
            self.step, self._begun, self.trainer = before

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What happens inside the context is no part of the training: see `tried`."""
        self._beside += 1
        try:
            yield
        finally:
            self._beside -= 1

    @property
    def tried(self) -> bool:
        """Whether somebody who only looks is at work: an adviser, or a guard that runs a copy of the module.

        A fault that is met there has to show, since it is in the code that is tried, and must leave nothing behind.
        """
        # Not imported for this: the first import of the guards settles whose callbacks they are.
        trials = sys.modules.get("faultlab.guards.support.trials")
        return bool(self._beside or (trials is not None and trials.trying()))

    @property
    def next_step(self) -> int:
        """The step that begins next; not the present one plus one before the first."""
        return self._begun

    @property
    def stage(self) -> str:
        """One of train, validate, test and predict; a check before the training counts as validate."""
        return "train"

    @property
    def checking(self) -> bool:
        """Whether the training only tries its validation out before it begins."""
        return False

    @property
    def module(self) -> Any:
        """The module that is being trained, None where that is not known."""
        return None

    @property
    def epoch(self) -> int:
        """The epoch that is being trained, from 0."""
        return 0

    @property
    def rank(self) -> int:
        """The rank of this process among those that train together."""
        return 0
