"""A training loop of the user's own as guards see it: its view, and the calls of their hooks in a Trainer's order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.optim import Optimizer

from faultlab.guards.support import pace, trainer_state
from faultlab.guards.support.callback import HOOKS
from faultlab.guards.support.exchange import ranks_met
from faultlab.guards.support.guard_set import GuardSet, Rhythm
from faultlab.guards.support.terms import LOOPS
from faultlab.guards.support.training_view import TrainingView

Call = Callable[..., None]
"""Calls the hook with this name, with these arguments after the view and the module."""


class HandLoop(TrainingView):
    """The view of a training in a loop of the user's own: what the user says about it, and what the loop shows.

    Schedules, checkpoints and the plan of validation are unknown.
    """

    terms = LOOPS
    # A rank may be anywhere: only `LoopRanks` knows when they meet.
    is_meeting = False

    def __init__(self, optimizers: list[Optimizer], train: Any, validation: Any, accumulates: int, epochs: int) -> None:
        self.optimizers: list[Optimizer] = optimizers
        self.callback_metrics: dict[str, Any] | None = {}
        self.accumulate_grad_batches = accumulates
        self.train_dataloader = train
        self.val_dataloaders = validation
        self.max_epochs = epochs
        self.max_steps = -1
        self.num_training_batches = length(train)

    @property
    def world_size(self) -> int:
        """Processes in the default group, which a loop may make and leave at any time."""
        return ranks_met()

    def settings(self) -> dict[str, Any]:
        """Return the known settings."""
        known = ("fast_dev_run", "max_epochs", "max_steps", "accumulate_grad_batches")
        return {name: getattr(self, name) for name in known}


def length(loader: Any) -> float:
    """Return the number of batches of a loader, infinity if it is unknown."""
    try:
        return len(loader)
    except TypeError:
        return math.inf


class InTurn(dict[str, Callable[..., None]]):
    """A function for each hook that calls the guards which implement it, one after the other.

    Attributes:
        rhythm: Which batches they are called in.
    """

    def __init__(self, guards: Iterable[Any]) -> None:
        together = vars(GuardSet(guards))
        self.rhythm: Rhythm = together["_rhythm"]
        super().__init__({hook: together[hook] for hook in HOOKS if hook in together})


def in_turn(guards: Iterable[Any]) -> InTurn:
    """Return a function for each hook that calls the guards which implement it, one after the other."""
    return InTurn(guards)


class Course:
    """The course of a training for its guards: turns the events of a loop into hooks, in a Trainer's order.

    Args:
        loop: The view of the loop, whose progress is recorded here.
        module: The module that trains.
        hooks: A function for each hook, by hook name.
    """

    def __init__(self, loop: HandLoop, module: Any, hooks: Mapping[str, Callable[..., None]]) -> None:
        self.loop = loop
        self.module = module
        self.busy = False
        self.batch: tuple[Any, int] | None = None
        self.outputs: Any = None
        self.validated = False
        self.hooks = hooks
        self._fitting = self._training = self._validating = False
        self._count = 0
        self._stepped: set[int] = set()
        self._modes: list[tuple[Any, bool]] = []

    def call(self, hook: str, *args: Any) -> None:
        """Call a hook of the guards. What guards run in it (copies of the module) is not part of the loop."""
        function = self.hooks.get(hook)
        if function is None:
            return
        before, self.busy = self.busy, True
        try:
            function(self.loop, self.module, *args)
        finally:
            self.busy = before

    @property
    def has_begun(self) -> bool:
        """Whether a training batch has begun."""
        return self._training

    def begin_batch(self, batch: Any, index: int | None, new_epoch: bool) -> int:
        """Begin a training batch and return its number in the epoch."""
        if self.batch is not None:
            self.end_batch()
        if self._validating:
            self.end_validation()
        if not self._fitting:
            self._fitting = True
            self.call("on_fit_start")
        if not self._training:
            self._training = True
            self.call("on_train_start")
            self.call("on_train_epoch_start")
        elif new_epoch:
            self.change_epoch()
        number = self.count_batch(index)
        self.call("on_train_batch_start", batch, number)
        return number

    def change_epoch(self) -> None:
        """End an epoch and begin the next one, between batches and after the validation."""
        self.call("on_train_epoch_end")
        self._count = 0
        self.loop.current_epoch += 1
        self.call("on_train_epoch_start")

    def count_batch(self, index: int | None) -> int:
        """Count another training batch, and return its number in the epoch."""
        self.validated = False
        number = self._count if index is None else index
        self._count = number + 1
        self.loop.batch_idx = number
        self.loop.total_batch_idx = 0 if self.loop.total_batch_idx is None else self.loop.total_batch_idx + 1
        return number

    def open_batch(self, batch: Any, number: int, outputs: Any) -> None:
        """Let the steps that follow belong to a batch that has begun."""
        self.batch, self.outputs = (batch, number), outputs
        self._stepped.clear()
        if not self._modes or pace.due(self.loop):
            # Layers are rarely added, and the walk takes longer than most guards.
            self._modes = [(part, part.training) for part in self.module.modules()]

    def note_modes(self) -> None:
        """Remember the modes of the batch, since its end may show only after a later call of eval()."""
        self._modes = [(part, part.training) for part, _ in self._modes]

    def has_stepped(self, optimizer: Any) -> bool:
        """Note that an optimizer has stepped, and return whether all of them have stepped in this batch."""
        self.loop.global_step += 1
        return self.has_counted(optimizer)

    def has_counted(self, optimizer: Any) -> bool:
        """Note that an optimizer's step is counted, and return whether all of them have stepped in this batch."""
        self._stepped.add(id(optimizer))
        return len(self._stepped) >= len(self.loop.optimizers)

    def end_batch(self) -> None:
        """End the current batch, if there is one."""
        ended, self.batch = self.batch, None
        if ended is None:
            return
        loss = trainer_state.loss_of(self.outputs)
        self.outputs = None
        outputs = {} if loss is None else {"loss": loss}
        # Setting an attribute of a module takes longer than reading it, and most loops have not changed any.
        others = [(part, training) for part, training in self._modes if part.training is not training]
        if not others:
            self.call("on_train_batch_end", outputs, *ended)
            return
        now = [(part, part.training) for part, _ in others]
        try:
            for part, training in others:
                part.training = training
            self.call("on_train_batch_end", outputs, *ended)
        finally:
            for part, training in now:
                part.training = training

    def begin_validation_batch(self, batch: Any, number: int) -> None:
        """Begin a validation batch, and the validation itself with the first one."""
        self.end_batch()
        if not self._validating:
            self._validating = True
            self.call("on_validation_start")
            self.call("on_validation_epoch_start")
        self.call("on_validation_batch_start", batch, number)

    def end_validation_batch(self, outputs: Any, batch: Any, number: int) -> None:
        """End a validation batch."""
        self.call("on_validation_batch_end", outputs, batch, number)

    @property
    def is_validating(self) -> bool:
        """Whether a validation has begun and not ended."""
        return self._validating

    def end_validation(self) -> None:
        """End the validation, if one is running."""
        if self._validating:
            self._validating, self.validated = False, True
            self.call("on_validation_epoch_end")
            self.call("on_validation_end")

    def end(self) -> None:
        """End the training."""
        self.end_batch()
        self.end_validation()
        if self._training:
            self.call("on_train_epoch_end")
            self.call("on_train_end")
        if self._fitting:
            self.call("on_fit_end")

    def forget(self) -> None:
        """Start from the beginning with the next batch."""
        self.batch = self.outputs = None
        self._modes = []
        self._fitting = self._training = self._validating = False
