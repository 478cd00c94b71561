"""Turns what a training loop does with a module, an optimizer and its loaders into the course of a training.

A training batch is a batch of the training loader, as soon as the module is called for it with gradients enabled;
without a loader it is such a call, and all that follows until the optimizers have stepped or the module is called
again. A call in eval mode is probably an evaluation, and belongs to the training only if a backward pass follows.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from faultlab.guards.support import backward_calls, scheduler_calls
from faultlab.guards.support.hand_loop import Course, InTurn
from faultlab.guards.support.listening import Ears
from faultlab.guards.support.naps import Naps
from faultlab.guards.support.succession import Succession
from faultlab.guards.support.watched_loop import UNKNOWN, WatchedLoop

Stage = Literal["train", "validate"]

_STRAYS = 2
"""Steps after which a loop that has not asked its loader for a batch is known to train on others."""


class Watcher:
    """The hooks on a module, its optimizers and backward passes, which call guards in the course of a training.

    Args:
        module: The module that the loop calls.
        loop: The view of the loop.
        hooks: A function for each hook of the guards, by hook name.
        sees_batches: Whether `asked` and `delivered` are called for the batches of the training.
        called: The modules that the loop calls, if ``module`` only stands for them.
        without_batches: Returns the hooks to call from then on if the loop turns out to train on other batches than
            those of its loader.
    """

    def __init__(
        self,
        module: Any,
        loop: WatchedLoop,
        hooks: Mapping[str, Callable[..., None]],
        sees_batches: bool,
        called: Iterable[Any] = (),
        without_batches: Callable[[], Mapping[str, Callable[..., None]]] | None = None,
    ) -> None:
        self.course = Course(loop, module, hooks)
        self._naps = Naps(self.course, hooks.rhythm if isinstance(hooks, InTurn) else None)
        self._loop = loop
        loop.shows_batches = self._sees_batches = sees_batches
        self._stage: Stage = "train"
        self._pending: Any = None
        self._is_pending = self._new_epoch = self._in_doubt = False
        self._exhausted: bool | None = None
        self._index = -1
        self._validation: tuple[Any, int] | None = None
        self._validation_index = -1
        self._backwards = self._steps = self._steps_before = 0
        self._delivered = 0
        self._without_batches = without_batches
        self._strays, self._is_stray = _STRAYS if sees_batches else 0, False
        self._stepping: Any = None
        self._in_closure = self._in_backward = self._in_scaler = False
        self._unscaled: tuple[weakref.ref[Tensor], Any] | None = None
        self._ears = Ears(_raised)
        self._roots = [*called] or [module]
        self._dozes = True
        self._rouse()
        self._succession = Succession(loop.optimizers, module, self._before_step, self._after_step, self._is_unstepped)
        backward_calls.CALLS.observe(self)
        scheduler_calls.CALLS.observe(loop.scheduled)

    def add(self, optimizer: Optimizer) -> None:
        """Observe another optimizer from now on."""
        if not any(optimizer is known for known in self._loop.optimizers):
            self._loop.optimizers.append(optimizer)
            self._succession.hook(optimizer)

    def leave(self) -> None:
        """Remove all hooks."""
        backward_calls.CALLS.leave(self)
        scheduler_calls.CALLS.leave(self._loop.scheduled)
        self._ears.off()
        self._succession.leave()
        if self._loop.ranks is not None:
            self._loop.ranks.leave()
        self.course.forget()

    def _doze(self) -> None:
        """Observe no calls of the modules as long as batches are usual ones, which begin with their backward pass."""
        if not self._dozes:
            self._dozes = True
            self._ears.rest()

    def _rouse(self) -> None:
        if self._dozes:
            self._dozes = False
            for root in self._roots:
                self._ears.before(root, self._called)

    # Events of loaders.

    def iterated(self, stage: Stage) -> None:
        """Note that the loop begins to iterate over a loader."""
        self._rouse()
        self._stage = stage
        if stage == "train":
            self._strays = 0
            self._index, self._new_epoch = -1, True
            self._exhausted = None if self._exhausted is None else False
        else:
            self._validation_index = -1

    def asked(self, stage: Stage) -> None:
        """Note that the loop asks for the next batch, so that it is done with the one before if that has stepped."""
        if self.course.busy:
            return
        naps = self._naps
        if naps.stage and stage == "train" and naps.ends():
            if naps.goes_on():
                self._doze()
            else:
                self._rouse()
            return
        # A batch that was not trained on, or was fetched ahead.
        self._rouse()
        naps.wake()
        if stage == "validate":
            self._end_validation_batch()
        elif self._steps:
            self._end_batch()

    def delivered(self, stage: Stage, batch: Any) -> None:
        """Note that a loader has delivered a batch."""
        self._stage, self._pending, self._is_pending = stage, batch, True
        if stage == "train":
            self._index += 1
            self._delivered += 1
        else:
            self._validation_index += 1

    def exhausted(self, stage: Stage) -> None:
        """Note that a loader has no more batches."""
        self._stage = "train"
        if stage == "train":
            # A batch that was fetched ahead, alone or in a group, is trained on after the loader has ended.
            self._exhausted = True
        else:
            self._is_pending, self._pending = False, None

    # Events of the module.

    def _called(self, module: Any, args: Any, kwargs: Any) -> None:
        # Checkpointed parts are called again within backward.
        if self.course.busy or self._in_backward:
            return
        self._naps.wake()
        if self._stage == "validate" and not self._has_left_validation(module):
            self._called_in_validation()
        elif torch.is_grad_enabled() and self._may_begin():
            self._stage = "train"
            self._in_doubt = not module.training
            if module.training:
                self._begin()

    def _has_left_validation(self, module: Any) -> bool:
        """Return whether the loop has left its validation loader early and trains again."""
        return not self._is_pending and module.training and torch.is_grad_enabled()

    def _called_in_validation(self) -> None:
        if not self._is_pending:
            return
        self._is_pending = False
        if self.course.batch is None or self._backwards:
            self._end_batch()
            self._validation = self._pending, self._validation_index
            self.course.begin_validation_batch(*self._validation)

    def _end_validation_batch(self) -> None:
        ended, self._validation = self._validation, None
        if ended is not None:
            self.course.end_validation_batch(None, *ended)

    def _may_begin(self) -> bool:
        """Return whether a call of the module may be that of the next training batch."""
        if self._in_closure and self.course.batch is not None:
            return False
        if self._sees_batches:
            # A batch may be left out, and another may be fetched ahead of time.
            over = self.course.batch is None or self._backwards > 0 or self._delivered > 1
            return over and self._is_pending
        # Several optimizers take turns in a batch, whose end shows when all of them have stepped.
        most = 1 if len(self._loop.optimizers) == 1 else UNKNOWN
        return self.course.batch is None or self._backwards >= most

    def _begin(self) -> None:
        batch = self._pending if self._sees_batches else None
        if self.course.batch is not None:
            self._end_batch()
        self._count_anew()
        new_epoch, self._new_epoch = self._new_epoch and self.course.has_begun, False
        loop = self._loop
        if len(loop.optimizers) == 1 and loop.ranks is None and self._sees_batches and not loop.is_learning:
            if new_epoch and not self.course.is_validating:
                self.course.change_epoch()
                new_epoch = False
            if not new_epoch and self._naps.begins(batch, self._index):
                return
        number = self.course.begin_batch(batch, self._index if self._sees_batches else None, new_epoch)
        self.course.open_batch(batch, number, None)

    def _count_anew(self) -> None:
        """Let the calls that follow count for the batch that was delivered last."""
        self._is_pending = self._in_doubt = False
        self._validation = None
        self._loop.fetched = max(1, self._delivered)
        self._backwards = self._steps = self._delivered = 0
        self._succession.begin_batch()

    def _wake(self) -> None:
        """Call all hooks from now on, also those that were left out in the current batch."""
        if self._dozes and self._is_pending:
            self._begin_dozing()
        self._rouse()
        self._naps.wake()

    def _begin_dozing(self) -> None:
        self._count_anew()
        self._naps.begin(self._pending, self._index)

    def _end_batch(self) -> None:
        if self.course.batch is None:
            return
        if self._loop.is_learning:
            self._loop.learn(self._steps > 0)
        self.course.end_batch()

    # Events of backward passes, see `backward_calls.Observer`.

    def before_backward(self, loss: Tensor) -> None:
        if self.course.busy:
            return
        self._in_backward = True
        if self._dozes and self._is_pending:
            self._begin_dozing()
        if self._naps.stage and self._naps.differentiates(loss):
            self._backwards += 1
            return
        if self._in_doubt:
            self._begin()
        if self._loop.ranks is not None:
            self._meet()
        if self.course.batch is None:
            self._is_stray = True
            return
        self._backwards += 1
        known, self._unscaled = self._unscaled, None
        value = known[1] if known is not None and known[0]() is loss else loss
        if self._backwards == 1:
            is_tensor = type(value) is Tensor or isinstance(value, Tensor)
            self.course.outputs = value.detach() if is_tensor else None
        elif not self._in_closure:
            # Several losses of one batch have no common course.
            self.course.outputs = None
        self.course.note_modes()
        self.course.call("on_before_backward", loss)

    def _meet(self) -> None:
        assert self._loop.ranks is not None
        self.course.busy = True
        try:
            self._loop.ranks.meet()
        finally:
            self.course.busy = False

    def after_backward(self, done: bool) -> None:
        if self.course.busy:
            return
        self._in_backward = False
        if self._naps.stage and done:
            self._naps.differentiated()
            return
        if self.course.batch is None or not done:
            return
        self.course.call("on_after_backward")
        if self._in_closure:
            self.course.call("on_before_optimizer_step", self._stepping)

    # Events of optimizers.

    def _is_unstepped(self) -> bool:
        """Return whether a batch runs that has been differentiated and not stepped on."""
        if self.course.busy:
            return False
        self._wake()
        return self.course.batch is not None and self._backwards > 0 and not self._steps

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._naps.stage and len(args) == 1 and not kwargs and self._naps.steps(optimizer):
            return
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        self._in_closure, self._stepping = closure is not None, optimizer
        self._wake()
        # With a closure the gradients are those of the previous step.
        if self.course.batch is not None and closure is None and not self._in_scaler:
            self.course.call("on_before_optimizer_step", optimizer)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._in_closure, self._stepping = False, None
        self._steps += 1
        if self._naps.stage:
            self._naps.stepped()
            return
        if self.course.has_stepped(optimizer) and not self._sees_batches:
            self._end_batch()
        if self._strays and self._is_stray and self._without_batches is not None:
            self._strays, self._is_stray = self._strays - 1, False
            if not self._strays:
                self._loop.shows_batches = self._sees_batches = False
                # For the guards, the training begins with the next batch.
                self._loop.global_step = 0
                self.course.hooks = self._without_batches()

    def scaled(self, loss: Any, result: Any) -> None:
        self._wake()
        self._loop.is_scaled = True
        if isinstance(result, Tensor):
            self._unscaled = weakref.ref(result), loss

    def before_scaled_step(self, optimizer: Any) -> None:
        self._naps.wake()
        if any(optimizer is known for known in self._loop.optimizers) and self.course.batch is not None:
            self.course.call("on_before_optimizer_step", optimizer)
            self._in_scaler = True
            self._steps_before = self._loop.global_step

    def after_scaled_step(self, optimizer: Any) -> None:
        if self._in_scaler:
            self._in_scaler = False
            if self._loop.global_step == self._steps_before:
                # The scaler has skipped it; the loop has done its part.
                self._steps += 1

    # The end.

    def end(self) -> None:
        """End the training for the guards. A batch without a backward pass may not have been one of the training."""
        self._naps.wake()
        if self._backwards:
            self._end_batch()
        if self._exhausted is False:
            # It reads its loader to the end in other epochs, and has left this one because it has enough steps.
            self._loop.should_stop = True
        self.course.batch = None
        self.course.end()
        if self._loop.ranks is not None:
            self._loop.ranks.end()

    def failed(self, error: BaseException) -> None:
        """End the training for the guards, because the loop raised an error."""
        self._naps.wake()
        self.course.call("on_exception", error)
        if self._loop.ranks is not None:
            self._loop.ranks.failed(error)


def _raised(error: Exception) -> None:
    raise error
