"""Guards for a module with a ``training_step`` in a training loop of your own, without a Trainer."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch.optim import Optimizer

from faultlab.guards.guard import Guard
from faultlab.guards.support import trainer_state
from faultlab.guards.support.guard_set import GuardSet
from faultlab.guards.support.hand_loop import Course, HandLoop, in_turn

_MISSING = object()


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
        self._course = Course(loop, module, in_turn(self.guards))
        self._undo: list[Callable[[], None]] = []
        self._seen = 0
        self._size = 1
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
            self._course.end_batch()
            self._end_validation()
            self._course.end()
        except BaseException as error:
            # Guards that are not called for the end any more remove their hooks then.
            self._course.call("on_exception", error)
            raise
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
            self._course.call("on_exception", error)
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._course.forget()

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

    def _training_step(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        batch, index = _arguments(args, kwargs)
        self._course.end_batch()
        self._end_validation()
        new_epoch = index == 0 or (index is None and self._course.validated)
        number = self._course.begin_batch(batch, index, new_epoch)
        outputs = own(*args, **kwargs)
        self._course.open_batch(batch, number, outputs)
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor) and loss.requires_grad:
            # Called when backward starts, even if the loss was divided by something first.
            alive = weakref.ref(loss)
            loss.register_hook(lambda gradient: self._before_backward(alive()))  # type: ignore[no-untyped-call]
        return outputs

    def _before_backward(self, loss: Any) -> None:
        # A guard may compute a gradient of the loss itself, which calls this again.
        if loss is not None and self._course.batch is not None and not self._course.busy:
            # Gradients are disabled within backward, but enabled before it.
            with torch.enable_grad():
                self._course.call("on_before_backward", loss)

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        # With a closure the gradients are those of the previous step.
        if self._course.batch is not None and closure is None:
            self._course.call("on_after_backward")
            self._course.call("on_before_optimizer_step", optimizer)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._course.has_stepped(optimizer) and self.trainer.accumulate_grad_batches == 1:
            self._course.end_batch()

    def _validation_step(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        batch, index = _arguments(args, kwargs)
        self._course.end_batch()
        if not self._course.is_validating:
            self._sums = {}
            self._seen = 0
        number = self._seen if index is None else index
        self._seen = number + 1
        self._course.begin_validation_batch(batch, number)
        self._size = trainer_state.samples(batch) or 1
        outputs = own(*args, **kwargs)
        self._course.end_validation_batch(outputs, batch, number)
        return outputs

    def _end_validation(self) -> None:
        if self._course.is_validating:
            means = {name: torch.tensor(total / count) for name, (total, count) in self._sums.items()}
            self.trainer.callback_metrics = {**(self.trainer.callback_metrics or {}), **means}
            self._course.end_validation()

    def _log(self, own: Callable[..., Any], name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        number = trainer_state.number(value)
        if number is None:
            return
        if self._course.is_validating:
            size = kwargs.get("batch_size") or self._size
            total, count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + number * size, count + size)
        elif self.trainer.callback_metrics is not None:
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
    nowhere else. For a loop that calls the module itself, use `watch`.

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
