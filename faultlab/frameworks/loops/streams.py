"""The batches of a loader as a loop takes them."""

from __future__ import annotations

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

    @property
    def _expects_another(self) -> bool:
        return self._stream.length is not None and self._taken < self._stream.length

    def __next__(self) -> Any:
        loop = self._loop
        loop.stage = self._stage
        loop.advising.asked(self._stage)
        # Before the batch is fetched, where there is one to come: what acts on its samples acts in its step.
        early = self._counts and self._expects_another
        if early:
            loop.begin_step()
        try:
            batch = next(self._stream.iterator)[0]
        except StopIteration:
            if early:
                loop.take_back()
            loop.ended(self._stage)
            raise
        self._taken += 1
        if self._counts and not early:
            loop.begin_step()
        batch = mapped(loop, batch, self._stage)
        loop.delivered(self._stage)
        loop.advising.delivered(self._stage, batch)
        return batch


def mapped(loop: Loop, batch: Any, stage: str) -> Any:
    """Return a batch as the faults leave it."""
    for change in list(loop.batch_maps):
        batch = change(batch, stage)
    return batch


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
