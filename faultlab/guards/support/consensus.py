"""The ranks of a training end together: an alarm of a guard on one rank is raised on all of them.

A rank that raises alone leaves the others in their next collective, for half an hour by default. So a guard's alarm is
held until all ranks have reached the end of the batch, of the validation or of another stage. There one small
all-reduce shows which ranks hold an alarm. What happens until then was about to happen on the other ranks anyway.
"""

from __future__ import annotations

import contextlib
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from faultlab.guards.support import announcement, rescue
from faultlab.guards.support.callback import Callback
from faultlab.guards.support.exchange import collective, device_of, gather_objects, meets
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.training_view import TrainingView

_meetings: weakref.WeakKeyDictionary[Any, Agreement] = weakref.WeakKeyDictionary()
_count = 0


def join(trainer: TrainingView) -> None:
    """Let the ranks of a training agree on alarms, if there are several; once, whichever guard asks first."""
    if trainer not in _meetings and meets(trainer):
        consensus = Consensus()
        if (leave := trainer.call_after_guards(consensus)) is not None:
            consensus.leave = leave
            register(trainer, consensus)


def register(trainer: TrainingView, agreement: Agreement) -> None:
    """Let alarms in this training be held by the agreement, until it is left."""
    _meetings[trainer] = agreement


def unregister(trainer: TrainingView) -> None:
    """Let alarms in this training be raised at once."""
    _meetings.pop(trainer, None)


def is_joined(trainer: TrainingView | None) -> bool:
    """Return whether alarms in this training are held until all ranks raise them."""
    return trainer is not None and trainer in _meetings


def hold(trainer: TrainingView, alarm: Any) -> None:
    """Hold an alarm until all ranks raise it."""
    _meetings[trainer].hold(alarm)


class Agreement:
    """The alarms of one training, which its ranks raise together."""

    def __init__(self) -> None:
        global _count
        # Trainings in turn may use the same store. Ranks begin them together, so they count alike.
        _count += 1
        self._number = _count
        self._held: Any = None

    def hold(self, alarm: Any) -> None:
        """Hold the first alarm of this rank."""
        if self._held is None:
            self._held = alarm
            self._publish(alarm)

    def raise_common(self, view: TrainingView, ranks: list[int]) -> None:
        """Raise the alarm of these ranks, which hold one. All ranks have to call it together."""
        raise self._common(view, gather_objects(self._held), ranks)

    def instead_of(self, exception: BaseException) -> Any:
        """Return the alarm that this rank held, or another one when it ended; None if the exception stands for itself.

        There is no collective in it, since the others may be anywhere.
        """
        held, self._held = self._held, None
        if not isinstance(exception, Exception) or hasattr(exception, "on_ranks"):
            return None
        rank = dist.get_rank()
        return held.on_ranks((rank,)) if held is not None else self._published(rank)

    def _common(self, view: TrainingView, held: list[Any], ranks: list[int]) -> Any:
        """Return the alarm that all ranks raise."""
        first = held[ranks[0]]
        same = [rank for rank in ranks if held[rank].of == first.of]
        if first.saves and 0 not in ranks:
            # Only this process may save, and only here it can know that it should.
            first.rescued = gather_objects(rescue.write(view) if view.is_global_zero else "")[0]
        everywhere = len(same) == len(held)
        alarm = self._held if everywhere else first.on_ranks(tuple(same))
        if 0 not in same:
            announcement.announce(view, alarm.guard, alarm.check, str(alarm))
        self._held = None
        return alarm

    def _key(self, rank: int) -> str:
        return f"faultlab/alarm/{self._number}/{rank}"

    def _publish(self, alarm: Any) -> None:
        # For ranks that fail because this one does before it gets to the end of the batch.
        with contextlib.suppress(Exception):
            store().set(self._key(dist.get_rank()), pickle.dumps(alarm))

    def _published(self, own: int) -> Any:
        for rank in range(dist.get_world_size()):
            with contextlib.suppress(Exception):
                if rank != own and store().check([self._key(rank)]):
                    return pickle.loads(store().get(self._key(rank))).on_ranks((rank,))
        return None


class Consensus(Agreement, Callback):
    """The callback of one training that is called after its guards, and raises their alarms on all ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.leave: Callable[[], None] = lambda: None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._agree(trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self._agree(trainer, pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Raise an alarm that was held, or that another rank held when it ended, instead of what came of it."""
        alarm = self.instead_of(exception)
        self._leave(trainer)
        if alarm is not None:
            raise alarm from exception

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._leave(trainer)

    def _agree(self, trainer: Any, module: Any) -> None:
        size, rank = dist.get_world_size(), dist.get_rank()
        flags = torch.zeros(size, dtype=torch.int64, device=device_of(module))
        if self._held is not None:
            flags[rank] = 1
        with collective():
            dist.all_reduce(flags)
        if ranks := [number for number, flag in enumerate(flags.tolist()) if flag]:
            self.raise_common(view_of(trainer), ranks)

    def _leave(self, trainer: Any) -> None:
        self._held = None
        unregister(view_of(trainer))
        self.leave()


def store() -> Any:
    """Return the store that the ranks met at."""
    return dist.distributed_c10d._get_default_store()
