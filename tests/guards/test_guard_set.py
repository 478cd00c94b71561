"""GuardSet: which hooks of batches it calls between looks, and that batches are counted all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from faultlab.guards import Guard, GuardSet
from faultlab.guards.support import pace

Batch = tuple[int, Any]


class Told(Guard):
    """Keeps the batches of each of its hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[int] = []
        self.ended: list[int] = []
        self.dense: list[int] = []
        self.count = 0
        self.epochs: list[int] = []

    @pace.sparse
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.started.append(trainer.global_step)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        self.dense.append(trainer.global_step)

    @pace.sparse
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ended.append(trainer.global_step - 1)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        pass


class Counting(Told):
    """Counts batches, and keeps the number at the end of each epoch."""

    @pace.counting
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, times: int = 1
    ) -> None:
        self.count += times

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.epochs.append(self.count)


def run(guards: GuardSet, begin: int, end: int, batch: Any = 0) -> None:
    """Run batches of one epoch, each with a step."""
    trainer = SimpleNamespace(global_step=begin, skips_backward=False)
    for number in range(begin, end):
        guards.on_train_batch_start(trainer, None, batch, number)
        guards.on_before_backward(trainer, None, None)
        trainer.global_step += 1
        guards.on_train_batch_end(trainer, None, {}, batch, number)


def test_a_sparse_hook_is_called_at_looks_and_once_after_them() -> None:
    told = Told()
    run(GuardSet([told]), 96, 140)
    assert told.started == [96, 97, 98, 112, 113, 114, 128, 129, 130]
    assert told.dense == list(range(96, 140)), "the other hooks are called in every batch"
    # The end of a batch is also that before the next step, which may be looked at.
    assert told.ended == [96, 97, 98, 111, 112, 113, 114, 127, 128, 129, 130]


def test_a_sparse_hook_is_called_in_a_batch_that_follows_another_event() -> None:
    told = Told()
    guards = GuardSet([told])
    run(guards, 99, 102)
    assert told.started == [99], "a set that has just been made knows of nothing before"
    guards.on_validation_end(SimpleNamespace(global_step=102), None)
    run(guards, 102, 105)
    assert told.started == [99, 102]


def test_a_sparse_hook_is_called_in_the_first_batch_of_an_epoch() -> None:
    told = Told()
    guards = GuardSet([told])
    run(guards, 99, 102)
    trainer = SimpleNamespace(global_step=102)
    guards.on_train_batch_start(trainer, None, 0, 0)
    assert told.started == [99, 102]


def test_a_batch_that_is_none_is_shown_to_all_guards() -> None:
    told = Told()
    run(GuardSet([told]), 99, 104, batch=None)
    assert told.ended == [99, 100, 101, 102, 103]


@pytest.mark.parametrize("number", [40, 64, 200, 333])
def test_every_batch_is_counted_before_the_epoch_ends(number: int) -> None:
    counting = Counting()
    guards = GuardSet([counting])
    run(guards, 0, number)
    guards.on_train_epoch_end(SimpleNamespace(global_step=number), None)
    assert counting.epochs == [number]


def test_a_dormant_guard_is_called_only_around_looks() -> None:
    told = Told()
    told.dormant = True
    run(GuardSet([told]), 96, 116)
    assert told.dense == [96, 97, 98, 112, 113, 114]


def test_a_guard_alone_is_called_in_every_batch() -> None:
    told = Told()
    trainer: Any = SimpleNamespace(global_step=100)
    for number in range(3):
        told.on_train_batch_start(trainer, None, 0, number)
    assert len(told.started) == 3
