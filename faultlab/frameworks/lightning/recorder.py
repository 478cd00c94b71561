"""Callbacks that a run adds to a Trainer: the recorder of its trajectory, other guards, the first batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory


def count_logger_calls(loggers: Iterable[Any], trajectory: Trajectory, patches: Patches) -> None:
    """Let ``trajectory`` count the calls of the loggers, without any effect on the training itself."""

    def make(log_metrics: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            trajectory.logger_calls += 1
            return log_metrics(*args, **kwargs)

        return counting

    for cls in {type(logger) for logger in loggers if hasattr(type(logger), "log_metrics")}:
        patches.wrap(cls, "log_metrics", make)


def recorder(namespace: Any, trajectory: Trajectory, clock: Any) -> Any:
    """Return a callback of the given Lightning namespace that writes into ``trajectory``."""
    seen: set[int] = set()
    rates: dict[int, float] = {}

    def loss_of(outputs: Any) -> float | None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        return _number(loss)

    class Recorder(namespace.Callback):  # type: ignore[misc]
        """Only observes: no random numbers, no gradients, no modes."""

        def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
            if not pl_module.automatic_optimization and (value := _number(loss)) is not None:
                trajectory.losses.append((clock.step, value))
                seen.add(clock.step)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            trajectory.steps += 1
            trajectory.global_step = int(trainer.global_step)
            if clock.step not in seen and (value := loss_of(outputs)) is not None:
                # Lightning passes callbacks the loss divided by the number of accumulated batches.
                shares = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
                trajectory.losses.append((clock.step, value * shares))
            groups = [group for optimizer in trainer.optimizers for group in getattr(optimizer, "param_groups", [])]
            for index, group in enumerate(groups):
                rate = _number(group.get("lr"))
                if rate is not None and rate != rates.get(index):
                    rates[index] = rate
                    trajectory.learning_rates.append((clock.step, rate))

        def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
            if not trainer.sanity_checking:
                trajectory.validation_batches += 1

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                self._note(trainer)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trajectory.epochs += 1
            self._note(trainer)

        def _note(self, trainer: Any) -> None:
            for name, value in trainer.callback_metrics.items():
                if (number := _number(value)) is not None:
                    trajectory.metrics.setdefault(str(name), []).append((clock.step, number))

    return Recorder()


def first_batch(namespace: Any, report: Callable[[Any], None]) -> Any:
    """Return a callback that reports the first batch of the training."""

    class FirstBatch(namespace.Callback):  # type: ignore[misc]
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 0 and batch_idx == 0:
                report(batch)

    return FirstBatch()


def of_hooks(hooks: Mapping[str, Callable[..., None]]) -> Any:
    """Return one callback with these hooks: calling thirty callbacks costs Lightning more than most guards do."""
    # Not imported before: the first import of the guards decides which framework their callbacks belong to.
    from faultlab.guards.support.callback import Callback

    class Advising(Callback):
        """A callback that no fault is applied to."""

    callback = Advising()
    vars(callback).update(hooks)
    return callback


def _number(value: Any) -> float | None:
    try:
        # torch warns, once per process, of a number made from a loss with its graph; that warning belongs to the user's
        # code.
        return float(value.detach() if hasattr(value, "detach") else value)
    except Exception:  # a missing, vector or odd-typed loss has no number to record
        return None
