"""The workers of a loader, which are copies of the victim and fetch ahead of it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from torch.utils.data import get_worker_info

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

_PATIENCE = 60.0

Purpose = Literal["victim", "step", "nobody"]


class Workers:
    """Which step a worker fetches in: torch gives batches out in turn, so that each can count its own.

    It is the step in which the victim waits for the batch, however early it is fetched: how early is another matter in
    every run. Streams whose shares differ in length get out of step once the shortest is at its end.
    """

    def __init__(self, armed: Armed) -> None:
        self._armed = armed
        self._process = self._fetcher = 0
        self._next = self._end = 0
        armed.follow_in_workers()

    def fetch_for(self, fetcher: Any) -> Purpose:
        """What the fetcher's next batch is for, and in a worker the clock set to the step that waits for it."""
        worker = get_worker_info()
        if worker is None:
            return "victim"
        loading, profile = self._armed.profile.loading, self._armed.profile
        promised = loading.batches if loading is not None else None
        epoch = promised or max(1, math.ceil(profile.steps / max(1, profile.epochs)))
        if self._process != os.getpid() or self._fetcher != id(fetcher):
            begins = self._armed.clock.next_step
            if self._process == os.getpid():
                # A worker that lives on to the next epoch knows only about when that began.
                begins = (self._armed.victims_step + 1) // epoch * epoch
            self._next, self._end = begins + worker.id, begins + epoch
            self._process, self._fetcher = os.getpid(), id(fetcher)
        step = self._next
        self._next += worker.num_workers
        # Without a length Lightning asks for a batch one step early.
        self._armed.clock.step = step if promised else max(0, step - 1)
        # What is fetched ahead at the end of a stream, or of an epoch that is cut short, nobody takes.
        return "nobody" if step >= self._end and self._armed.clock.stage == "train" else "step"

    def wait_for_victim(self) -> None:
        """Returns once the victim waits for the batch: without its worker it goes on for as long as it has others."""
        clock, until = self._armed.clock, time.monotonic() + _PATIENCE
        while self._armed.victims_step < clock.step and time.monotonic() < until:
            time.sleep(0.001)
        clock.step = min(clock.step, self._armed.victims_step)


def striking(armed: Armed, workers: Workers, get: Callable[..., Any]) -> Callable[..., Any]:
    """Return a fetcher's ``fetch`` that strikes the worker which fetches the batch of the trigger's step."""

    def fetching(fetcher: Any, *args: Any, **kwargs: Any) -> Any:
        if workers.fetch_for(fetcher) == "step" and armed.due(turns="one"):
            workers.wait_for_victim()
            armed.strike()
        return get(fetcher, *args, **kwargs)

    return fetching
