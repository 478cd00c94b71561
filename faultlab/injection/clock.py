"""The clock of a training: its step, epoch and stage, for triggers, latencies and fork points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.observing import TRIALS
from faultlab.core.patching import Patches
from faultlab.ranks import membership


class Clock:
    """Counts training steps over all epochs, from 0; each batch that training begins is one step.

    Each framework derives its own clock, which follows its trainings and knows epoch and stage. ``trainer`` is the
    object that runs the current training, None before the first. Before the first batch ``step`` is 0.
    """

    def __init__(self) -> None:
        self.step = 0
        self.trainer: Any = None
        self.on_step: list[Callable[[int], None]] = []
        # Called with the first step whose batch was fetched ahead of time and left.
        self.on_dropped: list[Callable[[int], None]] = []
        self._begun = 0
        self._beside = 0

    def attach(self, patches: Patches) -> None:
        """Follow every training of the process.

        Args:
            patches: Undoes the attachment.
        """
        raise NotImplementedError

    def tick(self) -> None:
        """Begin a training step."""
        self.step = self._begun
        self._begun += 1
        for listener in list(self.on_step):
            listener(self.step)

    def restart(self) -> None:
        """Begin another training, whose steps are counted from 0 again."""
        self.step = self._begun = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do not count what happens inside the context."""
        before = self.step, self._begun, self.trainer
        try:
            yield
        finally:
            self.step, self._begun, self.trainer = before

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Mark what happens inside the context as not part of the training: see `tried`."""
        self._beside += 1
        try:
            yield
        finally:
            self._beside -= 1

    @property
    def tried(self) -> bool:
        """True while code runs that only observes: an adviser, or a guard that runs a copy of the module.

        A fault that acts there has to show, since it is in the code under trial, and must leave no trace.
        """
        return bool(self._beside or TRIALS.at_work())

    @property
    def early(self) -> bool:
        """True while something is done for a step that has not begun, such as fetching its batch."""
        return False

    @property
    def next_step(self) -> int:
        """The step that begins next; before the first step it is 0, not ``step`` + 1."""
        return self._begun

    @property
    def stage(self) -> str:
        """train, validate, test or predict; a check before the training counts as validate."""
        return "train"

    @property
    def checking(self) -> bool:
        """True while the training only tries out its validation, before it begins."""
        return False

    @property
    def module(self) -> Any:
        """The module that is being trained, None if it is not known."""
        return None

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return 0

    @property
    def rank(self) -> int:
        """The rank of this process among those that train together, from 0."""
        return membership.rank()
