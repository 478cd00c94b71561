"""The clock of a training loop: a step is a batch of the training loader, or a forward where there is no loader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches
from faultlab.frameworks.loops.loop import Loop
from faultlab.injection.clock import Clock


class LoopClock(Clock):
    """Follows the loop that a run gives it. Without one it stays at step 0.

    A step that is announced ahead of its time, as its batch is fetched, is not announced again when it begins.
    """

    BEGINNING = 0, 0, -1
    """The ``position`` before the first step."""

    def __init__(self) -> None:
        super().__init__()
        self._announced = -1

    @property
    def position(self) -> tuple[int, int, int]:
        """The step in progress, the number of the next, and the last that was announced."""
        return self.step, self._begun, self._announced

    @position.setter
    def position(self, position: tuple[int, int, int]) -> None:
        self.step, self._begun, self._announced = position

    def restart(self) -> None:
        self.position = self.BEGINNING

    def follow(self, loop: Loop) -> None:
        """Follow this loop from now on."""
        self.trainer = loop
        loop.clock = self
        loop.as_of = self.as_of

    def tick(self) -> None:
        self.step = self._begun
        self._begun += 1
        self.announce(self.step)

    def announce(self, step: int) -> None:
        """Call the listeners for a step that begins now or later, once."""
        if step > self._announced:
            self._announced = step
            for listener in list(self.on_step):
                listener(step)

    def attach(self, patches: Patches) -> None:
        if self.trainer is not None:
            self.trainer.attach(patches)

    @contextmanager
    def as_of(self, step: int) -> Iterator[None]:
        """Let what happens inside the context belong to a later step, as does an exception that leaves it."""
        before, self.step = self.step, step
        try:
            yield
        except StopIteration:
            self.step = before
            raise
        self.step = before

    def take_back(self) -> None:
        """Take back the last step: its batch never came."""
        self._begun -= 1
        self._announced = self._begun - 1
        self.step = max(0, self._begun - 1)

    @property
    def module(self) -> Any:
        return None if self.trainer is None else self.trainer.module

    @property
    def stage(self) -> str:
        return "train" if self.trainer is None else str(self.trainer.stage)

    @property
    def epoch(self) -> int:
        return 0 if self.trainer is None else max(0, self.trainer.epochs - 1)
