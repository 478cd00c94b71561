"""Guards for a training loop of your own, without a Trainer."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch.optim import Optimizer

from faultlab.guards.guard import Guard
from faultlab.guards.support import trainer_state
from faultlab.guards.support.guard_set import GuardSet
from faultlab.guards.support.lightning_callback import overrides
from faultlab.guards.support.training_view import TrainingView

_MISSING = object()


class HandLoop(TrainingView):
    """The view of a training in a loop of the user's own: the arguments of `attach`, and what the module's calls show.

    Schedules, checkpoints and the plan of validation are unknown.
    """

    def __init__(self, optimizers: list[Optimizer], train: Any, validation: Any, accumulates: int, epochs: int) -> None:
        self.optimizers: list[Optimizer] = optimizers
        self.callback_metrics: dict[str, Any] = {}
        self.accumulate_grad_batches = accumulates
        self.train_dataloader = train
        self.val_dataloaders = validation
        self.max_epochs = epochs
        self.max_steps = -1
        self.num_training_batches = _length(train)

    def settings(self) -> dict[str, Any]:
        """Return the known settings."""
        known = ("fast_dev_run", "max_epochs", "max_steps", "accumulate_grad_batches")
        return {name: getattr(self, name) for name in known}


class Attached:
    """Guards that observe a training loop until ``detach`` or the end of the ``with`` block; `attach` returns it.

    Attributes:
        module: The module.
        guards: The guards, as a list.
        trainer: What the guards know of the training.
    """

    def __init__(self, module: Any, guards: Any, loop: HandLoop) -> None:
        self.module = module
        self.trainer = loop
        self.guards: list[Any] = list(guards)
        loop.callbacks = self.guards
        self._undo: list[Callable[[], None]] = []
        self._batch: tuple[Any, int, Any] | None = None
        self._fitting = self._training = self._validating = self._validated = False
        self._in_backward = False
        self._count = self._seen = 0
        self._size = 1
        self._stepped: set[int] = set()
        self._modes: list[tuple[Any, bool]] = []
        self._sums: dict[str, tuple[float, float]] = {}
        self._replace("training_step", self._training_step)
        self._replace("validation_step", self._validation_step)
        self._replace("log", self._log)
        self._replace("log_dict", self._log_dict)
        for optimizer in loop.optimizers:
            self._undo.append(optimizer.register_step_pre_hook(self._before_step).remove)
            self._undo.append(optimizer.register_step_post_hook(self._after_step).remove)

    def detach(self) -> None:
        """End the training for the guards, and restore the module and the optimizers.

        Raises:
            Alarm: A guard raises an alarm at the end of the training.
        """
        try:
            self._end_batch()
            self._end_validation()
            if self._training:
                self._end_epoch()
                self._call("on_train_end")
            if self._fitting:
                self._call("on_fit_end")
        finally:
            self._leave()

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.detach()
            return
        try:
            self._call("on_exception", error)
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._fitting = self._training = False

    def _replace(self, name: str, stand_in: Callable[..., Any]) -> None:
        own = getattr(self.module, name, None)
        if own is None:
            return

        def replaced(*args: Any, **kwargs: Any) -> Any:
            return stand_in(own, *args, **kwargs)

        setattr(replaced, trainer_state.ATTACHED, True)
        before = vars(self.module).get(name, _MISSING)
        object.__setattr__(self.module, name, replaced)

        def restore() -> None:
            if before is _MISSING:
                object.__delattr__(self.module, name)
            else:
                object.__setattr__(self.module, name, before)

        self._undo.append(restore)

    def _call(self, hook: str, *args: Any) -> None:
        for guard in self.guards:
            if overrides(guard, hook) or hook in vars(guard):
                getattr(guard, hook)(self.trainer, self.module, *args)

    def _training_step(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        batch, index = _arguments(args, kwargs)
        self._end_batch()
        self._end_validation()
        if not self._fitting:
            self._fitting = True
            self._call("on_fit_start")
        if not self._training:
            self._training = True
            self._call("on_train_start")
            self._call("on_train_epoch_start")
        elif index == 0 or (index is None and self._validated):
            self._end_epoch()
            self.trainer.current_epoch += 1
            self._call("on_train_epoch_start")
        self._validated = False
        number = self._count if index is None else index
        self._count = number + 1
        self._call("on_train_batch_start", batch, number)
        outputs = own(*args, **kwargs)
        self._batch = (batch, number, outputs)
        self._stepped = set()
        self._modes = [(part, part.training) for part in self.module.modules()]
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor) and loss.requires_grad:
            # Called when backward starts, even if the loss was divided by something first.
            alive = weakref.ref(loss)
            loss.register_hook(lambda gradient: self._before_backward(alive()))  # type: ignore[no-untyped-call]
        return outputs

    def _before_backward(self, loss: Any) -> None:
        # A guard may compute a gradient of the loss itself, which calls this again.
        if loss is None or self._batch is None or self._in_backward:
            return
        self._in_backward = True
        try:
            # Gradients are disabled within backward, but enabled before it.
            with torch.enable_grad():
                self._call("on_before_backward", loss)
        finally:
            self._in_backward = False

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        # With a closure the gradients are those of the previous step.
        if self._batch is not None and closure is None:
            self._call("on_after_backward")
            self._call("on_before_optimizer_step", optimizer)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.trainer.global_step += 1
        self._stepped.add(id(optimizer))
        if self.trainer.accumulate_grad_batches == 1 and len(self._stepped) == len(self.trainer.optimizers):
            self._end_batch()

    def _end_batch(self) -> None:
        ended, self._batch = self._batch, None
        if ended is None:
            return
        batch, number, outputs = ended
        loss = trainer_state.loss_of(outputs)
        now = [(part, part.training) for part in self.module.modules()]
        try:
            # If the end shows only in the next call, the user may already have called eval() for that.
            for part, training in self._modes:
                part.training = training
            self._call("on_train_batch_end", {} if loss is None else {"loss": loss}, batch, number)
        finally:
            for part, training in now:
                part.training = training

    def _end_epoch(self) -> None:
        self._call("on_train_epoch_end")
        self._count = 0

    def _validation_step(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        batch, index = _arguments(args, kwargs)
        self._end_batch()
        if not self._validating:
            self._validating, self._sums = True, {}
            self._seen = 0
            self._call("on_validation_start")
            self._call("on_validation_epoch_start")
        number = self._seen if index is None else index
        self._seen = number + 1
        self._call("on_validation_batch_start", batch, number)
        self._size = trainer_state.samples(batch) or 1
        outputs = own(*args, **kwargs)
        self._call("on_validation_batch_end", outputs, batch, number)
        return outputs

    def _end_validation(self) -> None:
        if self._validating:
            means = {name: torch.tensor(total / count) for name, (total, count) in self._sums.items()}
            self.trainer.callback_metrics = {**self.trainer.callback_metrics, **means}
            self._validating, self._validated = False, True
            self._call("on_validation_epoch_end")
            self._call("on_validation_end")

    def _log(self, own: Callable[..., Any], name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        number = trainer_state.number(value)
        if number is None:
            return
        if self._validating:
            size = kwargs.get("batch_size") or self._size
            total, count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + number * size, count + size)
        else:
            self.trainer.callback_metrics[name] = torch.tensor(number)

    def _log_dict(self, own: Callable[..., Any], values: Any, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(values).items():
            self._log(own, name, value, **kwargs)


def attach(
    module: Any,
    guards: Guard | GuardSet | Iterable[Any] | None = None,
    optimizers: Optimizer | Sequence[Optimizer] = (),
    *,
    train_dataloader: Any = None,
    val_dataloaders: Any = None,
    accumulate_grad_batches: int = 1,
    max_epochs: int = -1,
) -> Attached:
    """Let guards observe a training loop that calls the module's ``training_step`` and steps the optimizers.

    >>> with attach(module, optimizers=optimizer):      # doctest: +SKIP
    ...     for epoch in range(3):
    ...         for index, batch in enumerate(loader):
    ...             optimizer.zero_grad()
    ...             module.training_step(batch, index).backward()
    ...             optimizer.step()

    An epoch starts at the batch with index 0. A batch ends when each optimizer has stepped, or when the next one
    starts; only then do guards raise the alarms of its end. Values that the steps log are passed to the guards and
    nowhere else.

    Args:
        module: A module with a ``training_step`` and, for validation, a ``validation_step``.
        guards: One or several guards, or a `GuardSet`. None for all cheap ones.
        optimizers: The optimizers that the loop steps.
        train_dataloader: The training loader, for guards that look at it.
        val_dataloaders: The validation loader, or a collection of them.
        accumulate_grad_batches: Batches whose gradients are accumulated for one step.
        max_epochs: The planned number of epochs, -1 if unknown.

    Returns:
        A context manager that restores everything at the end of its block, or by its method ``detach``.
    """
    if guards is None:
        from faultlab.guards import all as ready

        guards = ready()
    chosen = [guards] if isinstance(guards, Guard) else list(guards)
    used = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    return Attached(
        module, chosen, HandLoop(used, train_dataloader, val_dataloaders, accumulate_grad_batches, max_epochs)
    )


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int | None]:
    batch = args[0] if args else kwargs.get("batch")
    index = args[1] if len(args) > 1 else kwargs.get("batch_idx")
    return batch, index if isinstance(index, int) else None


def _length(loader: Any) -> float:
    try:
        return len(loader)
    except TypeError:
        return math.inf
