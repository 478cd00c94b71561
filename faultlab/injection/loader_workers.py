"""The workers of a loader, which are copies of the victim and fetch batches ahead of it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data._utils import fetch

from faultlab.core.patching import Patches

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

_PATIENCE = 60.0

Purpose = Literal["victim", "step", "nothing"]


class Workers:
    """The step that a worker fetches for: torch hands out batches in turn, so each worker can count its own.

    It is the step when the victim waits for the batch, however early it is fetched, which differs between runs.
    Streams with shares of different lengths lose count once the shortest is exhausted.
    """

    def __init__(self, armed: Armed) -> None:
        self._armed = armed
        self._process = self._fetcher = 0
        self._next = self._end = 0
        armed.follow_in_workers()

    def fetch_for(self, fetcher: Any) -> Purpose:
        """Return the purpose of the fetcher's next batch; in a worker, set the clock to the step that waits for it."""
        worker = get_worker_info()
        if worker is None:
            return "victim"
        loading, profile = self._armed.profile.loading, self._armed.profile
        promised = loading.batches if loading is not None else None
        epoch = promised or max(1, math.ceil(profile.steps / max(1, profile.epochs)))
        if self._process != os.getpid() or self._fetcher != id(fetcher):
            begins = self._armed.clock.next_step
            if self._process == os.getpid():
                # A worker that survives to the next epoch knows only roughly when that began.
                begins = (self._armed.victims_step + 1) // epoch * epoch
            self._next, self._end = begins + worker.id, begins + epoch
            self._process, self._fetcher = os.getpid(), id(fetcher)
        step = self._next
        self._next += worker.num_workers
        # Without a length, Lightning requests a batch one step early.
        self._armed.clock.step = step if promised else max(0, step - 1)
        # Batches fetched ahead at the end of a stream, or of a truncated epoch, are never used.
        return "nothing" if step >= self._end and self._armed.clock.stage == "train" else "step"

    def wait_for_victim(self) -> None:
        """Return once the victim waits for the batch: without this worker it continues as long as it has others."""
        clock, until = self._armed.clock, time.monotonic() + _PATIENCE
        while self._armed.victims_step < clock.step and time.monotonic() < until:
            time.sleep(0.001)
        clock.step = min(clock.step, self._armed.victims_step)


def fork_workers(patches: Patches) -> None:
    """Have every loader fork its workers, whatever its start method: they are to be copies of the victim.

    Processes of the methods ``spawn`` and ``forkserver``, the default since Python 3.14, know nothing of its fault.
    Not once CUDA is in use, which doesn't work in a forked process.
    """

    def forking(make: Callable[..., Any]) -> Callable[..., Any]:
        def making(loader: DataLoader[Any], *args: Any, **kwargs: Any) -> Any:
            if not loader.num_workers or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                return make(loader, *args, **kwargs)
            before, loader.multiprocessing_context = loader.multiprocessing_context, "fork"
            try:
                return make(loader, *args, **kwargs)
            finally:
                loader.multiprocessing_context = before

        return making

    patches.wrap(DataLoader, "_get_iterator", forking)


def strike_in_workers(patches: Patches, armed: Armed) -> None:
    """Have the fault strike the worker that fetches the batch of the trigger's step."""
    fork_workers(patches)
    workers = Workers(armed)

    def striking(get: Callable[..., Any]) -> Callable[..., Any]:
        def fetching(fetcher: Any, *args: Any, **kwargs: Any) -> Any:
            if workers.fetch_for(fetcher) == "step" and armed.due(turns="one"):
                workers.wait_for_victim()
                armed.strike()
            return get(fetcher, *args, **kwargs)

        return fetching

    for fetcher in (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher):
        patches.wrap(fetcher, "fetch", striking)
