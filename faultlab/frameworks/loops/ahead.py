"""Batches that are fetched before their step begins: by a loader of Accelerate, by a Trainer, or by the loop itself.

A batch belongs to the step that trains on it, however early it is fetched. `Fetched` counts the batches of torch's
loader as they are fetched. What begins their steps differs: a loader that hands them on, the training step of a
Trainer, or the next forward of a loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from faultlab.frameworks.loops.streams import Batches, mapped
from faultlab.injection.values import Stream

if TYPE_CHECKING:
    from faultlab.frameworks.loops.loop import Loop


class Queue:
    """The batches of the training that were fetched and whose steps have not begun."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[Any] = deque()
        self._asked = self._exhausted = False
        self._updates = 0

    @property
    def number(self) -> int:
        """The number of the step that the next batch is for."""
        return int(self._loop.clock.next_step) + len(self._waiting)

    def fetch(self, stream: Stream, stage: str, expected: bool) -> Any:
        """Return the next batch, with the faults of the step that it is for; ``expected`` if there must be one."""
        clock, number = self._loop.clock, self.number
        self._asked = True
        try:
            with clock.as_of(number):
                if expected:
                    clock.announce(number)
                batch = next(stream.iterator)[0]
                clock.announce(number)
                batch = mapped(self._loop, batch, stage)
        except StopIteration:
            self._exhausted = True
            raise
        self._waiting.append(batch)
        return batch

    def begin(self) -> None:
        """Begin the step of the batch that was fetched first."""
        self._asked, self._updates = False, self._loop.updates
        if self._waiting:
            self._waiting.popleft()
        self._loop.begin_step()

    def called(self) -> None:
        """Begin a step if the loop has fetched since the last one began: its module is called.

        At the end of the data it trains on what is left without fetching, with an update for each.
        """
        due = self._asked or (self._exhausted and self._loop.updates > self._updates)
        if due and self._waiting:
            batch, advising = self._waiting[0], self._loop.advising
            advising.asked("train")
            self.begin()
            self._loop.delivered("train")
            advising.delivered("train", batch)

    def clear(self) -> None:
        """Forget what an epoch that ended early has left: no step trains on it, and faults act in it in vain."""
        self._waiting.clear()
        self._asked = self._exhausted = False
        self._loop.clock.drop()


class Fetched(Batches):
    """The iterator of torch's loader, whose batches are fetched for later steps."""

    def __next__(self) -> Any:
        loop = self._loop
        if self._counts:
            loop.stage = self._stage
            batch = loop.queue.fetch(self._stream, self._stage, self._expects_another)
        else:
            with loop.staged(self._stage):
                batch = mapped(loop, next(self._stream.iterator)[0], self._stage)
        self._taken += 1
        return batch


class HandedOn:
    """The iterator of a loader that wraps torch's. A step begins as it hands on the batch."""

    def __init__(self, loop: Loop, batches: Iterator[Any], stage: str, counts: bool) -> None:
        self._loop, self._batches, self._stage, self._counts = loop, batches, stage, counts

    def __iter__(self) -> HandedOn:
        return self

    def __next__(self) -> Any:
        loop = self._loop
        loop.stage = self._stage
        loop.advising.asked(self._stage)
        try:
            batch = next(self._batches)
        except StopIteration:
            loop.ended(self._stage)
            raise
        if self._counts:
            loop.queue.begin()
        loop.delivered(self._stage)
        loop.advising.delivered(self._stage, batch)
        return batch
