"""The batches of a Trainer's loaders, which are fetched before the step that they belong to begins.

Accelerate fetches one batch ahead, and the Trainer fetches all batches of an update before the first of their steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faultlab.frameworks.loops.streams import Batches

if TYPE_CHECKING:
    from faultlab.frameworks.hf.loop import TrainerLoop


class BatchesAhead(Batches):
    """The iterator of a loader, which shows the later step as it fetches the step's batch."""

    _loop: TrainerLoop

    def __next__(self) -> Any:
        return self._of_training() if self._counts else self._of_evaluation()

    def _of_training(self) -> Any:
        loop = self._loop
        number = loop.fetched
        with loop.clock.as_of(number):
            if self._stream.length is not None and self._taken < self._stream.length:
                loop.clock.announce(number)
            batch = next(self._stream.iterator)[0]
            loop.clock.announce(number)
            batch = self._mapped(batch)
        self._taken += 1
        loop.fetched = number + 1
        return batch

    def _of_evaluation(self) -> Any:
        loop = self._loop
        before, loop.stage = loop.stage, self._stage
        try:
            batch = self._mapped(next(self._stream.iterator)[0])
        finally:
            loop.stage = before
        loop.delivered(self._stage)
        return batch

    def _mapped(self, batch: Any) -> Any:
        for mapped in list(self._loop.batch_maps):
            batch = mapped(batch, self._stage)
        return batch
