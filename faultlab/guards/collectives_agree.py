"""The guard that checks that all ranks of a training enter the same collectives in the same order."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import collective_record
from faultlab.guards.support.exchange import Exchange, gather_objects, meets
from faultlab.guards.support.training_view import TrainingView

_PATIENCE = timedelta(seconds=2)
_REMEDY = "Let all ranks reach the same calls: log, save and reduce outside of conditions that differ between them."
_trainings = 0


class CollectivesAgree(Guard):
    """A guard against ranks that enter different collectives, such as a reduction under a condition of one rank.

    Each rank keeps a record of the collectives that its code enters, with the shapes of their tensors. Every few steps,
    the ranks compare digests of them by one small collective. If the training fails, because a collective timed out or
    another rank is gone, each rank looks for the first difference in what the others left in the store that the ranks
    met at. The collectives of DistributedDataParallel are not compared. In a training of one process, or with sharded
    parameters, it does nothing.

    Args:
        every: The number of training batches from one comparison to the next.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.

    Raises:
        ValueError: ``every`` is less than 1.
    """

    checks = {"sequence": "the ranks entered different collectives"}
    causes = {"sequence": "ranks, order, differ, deadlock, hang, waits, all_reduce, barrier, rank zero"}

    def __init__(self, every: int = 16, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        if every < 1:
            raise ValueError(f"invalid every={every}: expected at least 1")
        self.every = every
        self.exchange = Exchange()
        self._batches = 0
        self._record: collective_record.Record | None = None
        self._key = ""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_record": None}

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        global _trainings
        collective_record.end(self._record)
        self._record, self._batches = None, 0
        self.dormant = not meets(trainer) or trainer.is_flattened
        if not self.dormant:
            # Trainings in turn may use the same store. Ranks begin them together, so they count alike.
            _trainings += 1
            self._key = f"faultlab/collectives/{_trainings}"
            self._record = collective_record.begin()

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if self._batches % self.every == 0:
            self._compare(pl_module)

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._compare(pl_module)

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._compare(pl_module)
        self._leave()

    def teardown(self, trainer: TrainingView, pl_module: Any, stage: str) -> None:
        self._leave()

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        record = self._record
        self._leave()
        if record is None or not isinstance(exception, RuntimeError) or hasattr(exception, "on_ranks"):
            return
        if found := collective_record.difference(self._left_by_ranks(record)):
            self.alarm("sequence", found, _REMEDY)

    def _compare(self, module: Any) -> None:
        record = self._record
        if record is None:
            return
        assert self.exchange is not None
        rows = self.exchange.gather(self, module, lambda: [record.count, record.digest], 2)
        if rows is None:
            return
        self.looked += 1
        if all(row == rows[0] for row in rows):
            return
        states = gather_objects(record.state())
        counts = ", ".join(str(count) for count, _ in states)
        found = collective_record.difference(states) or f"the ranks entered {counts} collectives"
        self._leave()
        self.alarm("sequence", found, _REMEDY)

    def _leave(self) -> None:
        collective_record.end(self._record)
        self._record = None

    def _left_by_ranks(self, record: collective_record.Record) -> list[tuple[int, list[str]] | None]:
        """Leave this rank's record in the store, and return those of all ranks that left theirs in time."""
        from torch import distributed as dist

        found: list[tuple[int, list[str]] | None] = [None] * dist.get_world_size()
        with contextlib.suppress(Exception):
            store: Any = dist.distributed_c10d._get_default_store()
            own = dist.get_rank()
            found[own] = record.state()
            store.set(f"{self._key}/{own}", json.dumps(found[own]))
            for rank in range(len(found)):
                if rank != own:
                    store.wait([f"{self._key}/{rank}"], _PATIENCE)
                    count, latest = json.loads(store.get(f"{self._key}/{rank}"))
                    found[rank] = count, latest
        return found
