"""The batches of a loader as a loop takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from faultlab.injection.values import Stream

if TYPE_CHECKING:
    from faultlab.frameworks.loops.loop import Loop


class Batches:
    """The iterator of a loader, which notifies the loop when a step begins."""

    def __init__(self, loop: Loop, stream: Stream, stage: str, counts: bool) -> None:
        self._loop, self._stream, self._stage, self._counts = loop, stream, stage, counts
        self._taken = 0

    def __iter__(self) -> Batches:
        return self

    def __len__(self) -> int:
        if self._stream.length is None:
            raise TypeError("the loader has no length")
        return self._stream.length

    def __next__(self) -> Any:
        loop = self._loop
        loop.stage = self._stage
        if self._counts and loop.queue is not None:
            return loop.queue.fetch(self._stream, self._stage)
        loop.advising.asked(self._stage)
        # Before the batch is fetched, where there is one to come: what acts on its samples acts in its step.
        early = self._counts and self._stream.length is not None and self._taken < self._stream.length
        if early:
            loop.begin_step()
        try:
            batch = next(self._stream.iterator)[0]
        except StopIteration:
            if early:
                loop.take_back()
            loop.stage = "validate" if loop.evaluating else "train"
            loop.advising.exhausted(self._stage)
            raise
        self._taken += 1
        if self._counts and not early:
            loop.begin_step()
        for mapped in list(loop.batch_maps):
            batch = mapped(batch, self._stage)
        loop.delivered(self._stage)
        loop.advising.delivered(self._stage, batch)
        return batch


class Queue:
    """The batches that a loop has fetched and not trained on yet.

    A step begins with the first forward after a fetch.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[Any] = deque()
        self._asked = False

    def fetch(self, stream: Stream, stage: str) -> Any:
        """Return the next batch, with the faults of the step that it is for."""
        loop = self._loop
        self._asked = True
        try:
            with loop.as_of(loop.trajectory.steps + len(self._waiting)):
                batch = next(stream.iterator)[0]
                for mapped in list(loop.batch_maps):
                    batch = mapped(batch, stage)
        except StopIteration:
            loop.advising.exhausted(stage)
            raise
        self._waiting.append(batch)
        loop.delivered(stage)
        return batch

    def consume(self) -> None:
        """Begin a step if the loop has fetched since the last one began."""
        if self._asked and self._waiting:
            self._asked = False
            batch = self._waiting.popleft()
            self._loop.advising.asked("train")
            self._loop.begin_step()
            self._loop.advising.delivered("train", batch)

    def clear(self) -> None:
        """Forget what an epoch that ended early has left."""
        self._waiting.clear()
        self._asked = False


def numbered(iterator: Iterator[Any]) -> Iterator[Any]:
    """Yield each batch with its index, as a stream does."""
    for number, batch in enumerate(iterator):
        yield batch, number, 0


def length(loader: DataLoader[Any]) -> int | None:
    """Return the number of batches that a loader declares; None if it declares none."""
    try:
        return len(loader)
    except TypeError:  # a stream, or a sampler without a length
        return None
