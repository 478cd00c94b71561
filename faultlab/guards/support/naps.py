"""Batches between looks in which nothing is called but what notes the loss, as long as they are usual ones.

A usual batch is one backward pass by a finite loss and one step of the only optimizer, see `usual_batches`. As soon as
a batch turns out to be another, all hooks are called that were left out in it.
"""

from __future__ import annotations

from typing import Any

from faultlab.guards.support.guard_set import Rhythm
from faultlab.guards.support.hand_loop import Course
from faultlab.guards.support.usual_batches import is_finite

_AWAKE, _BEGUN, _DIFFERENTIATED, _STEPPED = range(4)
_MOST = 3


class Naps:
    """The current batch, as long as it is a usual one whose hooks are left out.

    Args:
        course: The course of the training.
        guards: The rhythm of the guards, None if others are called too, so that no hook may be left out.

    Attributes:
        stage: 0 if hooks are called as usual.
    """

    def __init__(self, course: Course, guards: Rhythm | None) -> None:
        self.stage = _AWAKE
        self._course = course
        self._guards = guards
        self._woken = 0
        self._batch: Any = None
        self._number = 0
        self._loss: Any = None
        self._value: Any = None
        self._optimizer: Any = None
        self._is_differentiated = self._is_stepped = False

    def begins(self, batch: Any, index: int) -> bool:
        """Begin a batch of the same epoch as the one before, and return whether its hooks are left out."""
        course = self._course
        if course.batch is not None or course.is_validating or self._woken >= _MOST:
            # Where every batch is another kind of batch after all, napping costs more than it saves.
            self._woken = 0 if course.is_validating else self._woken
            return False
        if not self.goes_on():
            return False
        self.begin(batch, index)
        return True

    def goes_on(self) -> bool:
        """Return whether the hooks of the next batch may be left out."""
        return self._guards is not None and self._guards.may_nap(self._course.loop.global_step)

    def begin(self, batch: Any, index: int) -> None:
        """Begin a batch whose hooks are left out."""
        self.stage, self._is_differentiated, self._is_stepped = _BEGUN, False, False
        self._batch, self._number = batch, self._course.count_batch(index)

    def differentiates(self, loss: Any) -> bool:
        """Note that a backward pass begins. If the batch is not a usual one, call the hooks and return False."""
        if self.stage == _BEGUN and is_finite(loss):
            self.stage, self._loss, self._value = _DIFFERENTIATED, loss, loss.detach()
            return True
        return self.wake()

    def differentiated(self) -> None:
        """Note that the backward pass is done."""
        self._is_differentiated = True

    def steps(self, optimizer: Any) -> bool:
        """Note that the optimizer's step begins. If the batch is not a usual one, call the hooks and return False."""
        if self._is_differentiated and self.stage == _DIFFERENTIATED and self._keeps_state(optimizer):
            self.stage, self._optimizer = _STEPPED, optimizer
            return True
        return self.wake()

    def stepped(self) -> None:
        """Note that the optimizer has stepped."""
        self._is_stepped = True
        self._course.loop.global_step += 1

    def ends(self) -> bool:
        """End the batch. If it was not a usual one, call the hooks and return False."""
        if not self._is_stepped:
            return self.wake()
        course, outputs, batch = self._course, {"loss": self._value}, self._batch
        self._forget()
        self._woken = 0
        assert self._guards is not None
        self._guards.napped(course.loop, course.module, outputs, batch, self._number)
        return True

    def wake(self) -> bool:
        """Call the hooks that were left out in the current batch. Return False."""
        stage, course = self.stage, self._course
        if stage == _AWAKE:
            return False
        batch, loss, value, optimizer = self._batch, self._loss, self._value, self._optimizer
        self._forget()
        self._woken += 1
        course.call("on_train_batch_start", batch, self._number)
        course.open_batch(batch, self._number, value)
        if stage >= _DIFFERENTIATED:
            course.call("on_before_backward", loss)
            if self._is_differentiated:
                course.call("on_after_backward")
        if stage >= _STEPPED:
            course.call("on_before_optimizer_step", optimizer)
            if self._is_stepped:
                course.has_counted(optimizer)
        return False

    def _keeps_state(self, optimizer: Any) -> bool:
        return self._guards is not None and self._guards.usual.keeps_state(optimizer)

    def _forget(self) -> None:
        self.stage = _AWAKE
        self._batch = self._loss = self._value = self._optimizer = None
