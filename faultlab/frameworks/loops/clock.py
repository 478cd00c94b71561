"""The clock of a training loop: a step is a batch of the training loader, or a forward where there is no loader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches
from faultlab.frameworks.loops.loop import Loop
from faultlab.injection.clock import Clock


class LoopClock(Clock):
    """Follows the loop that a run gives it. Without one it stays at step 0."""

    def follow(self, loop: Loop) -> None:
        """Follow this loop from now on."""
        self.trainer = loop
        loop.as_of = self.as_of

    def attach(self, patches: Patches) -> None:
        if self.trainer is not None:
            self.trainer.attach(patches)

    @contextmanager
    def as_of(self, step: int) -> Iterator[None]:
        """Let what happens inside the context belong to a later step."""
        before, self.step = self.step, step
        try:
            yield
        finally:
            self.step = before

    def take_back(self) -> None:
        """Take back the last step: its batch never came."""
        self._begun -= 1
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
