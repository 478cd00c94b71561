"""The guard that checks that the training ran as long as requested, and ended for a known reason."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch.utils.data import IterableDataset

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import pace, parameter_samples
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.support.validation_length import promised_batches


class RunEnded(Guard):
    """A guard against a training that does less than requested and still ends as if it were complete.

    Not judged are a training that a callback stopped (``should_stop``), the lengths of iterable datasets, which are
    estimates, and exceptions, unless they exit with status 0.

    Args:
        debugging: Whether the training is cut short on purpose. `fast_dev_run`, `overfit_batches` and epochs of any
            length are then allowed.
        least: The share of ``max_epochs`` that ``max_steps`` has to allow if both are given.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "exited-as-success": "the process exits with status 0 in the middle of the training",
        "nothing-trained": "the training ended without any batch",
        "nothing-left": "the training was at its end before it started",
        "debugging-left-on": "fast_dev_run or overfit_batches is on",
        "steps-short": "max_steps ends the training long before max_epochs",
        "batches-left-out": "an epoch of training ended before its last batch",
        "validation-cut-short": "a validation ended before its last batch",
        "epochs-left-out": "the training ended before its last epoch without a request to stop",
    }
    causes = {
        "exited-as-success": "exit, systemexit, terminated, signal, sigterm",
        "nothing-trained": "never trained, no step, no batch, empty, zero, max_epochs, limit_train_batches, return",
        "nothing-left": "max_epochs, max_steps, epoch, step, checkpoint",
        "debugging-left-on": "fast_dev_run, overfit_batches, same batches, epoch, validates",
        "steps-short": "step, short, epoch, optimizer step, training",
        "batches-left-out": "batches, epoch, ended early, missing, stopiteration, skipped, dataset, return, validation",
        "validation-cut-short": "validation batches, cut short, fewer, stopiteration, iterator, logged, "
        "validation_step",
        "epochs-left-out": "ended early, fewer epochs, stopiteration, hook, should_stop, max_steps",
    }

    def __init__(
        self, debugging: bool = False, least: float = 0.5, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.debugging = debugging
        self.least = least
        self._forget()

    def _forget(self) -> None:
        self._batches = self._in_epoch = self._validated = 0
        self._epochs_before = self._epochs = 0
        self._resumed = self._started = self._averaging = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()
        if self.debugging:
            return
        if trainer.fast_dev_run:
            self.alarm(
                "debugging-left-on",
                "fast_dev_run is on: only a few batches are trained on, no epoch is complete, and nothing is saved",
                "Turn fast_dev_run off, or construct the guard with debugging=True if it is on purpose.",
            )
        if overfit := trainer.overfit_batches:
            self.alarm(
                "debugging-left-on",
                f"overfit_batches is {overfit}: each epoch trains on the same batches and validates on as many",
                "Turn overfit_batches off, or construct the guard with debugging=True if it is on purpose.",
            )
        for name, what in (("max_epochs", "epoch"), ("max_steps", "step"), ("limit_train_batches", "batch")):
            if getattr(trainer, name, None) == 0:
                self.alarm(
                    "nothing-trained",
                    f"{name} is 0: no {what} will be trained, no step taken, and "
                    f"{self.terms.either('fit will return', 'it will end')} as if it were complete",
                    "Check the calculation or the argument that the limit comes from.",
                )

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._started = True
        self._epochs_before = trainer.current_epoch
        self._resumed = trainer.global_step > 0
        if _limit(trainer.max_epochs) or _limit(trainer.max_steps) or not math.isinf(trainer.num_training_batches):
            self.looked += 1
        else:
            self.skip("the planned length of the loop is not known, so only exits are judged: pass max_epochs to watch")
        if getattr(pl_module, "automatic_optimization", True):
            batches = trainer.num_training_batches
            accumulated = max(1, trainer.accumulate_grad_batches)
            if _whole(batches):
                self._judge_steps(trainer, math.ceil(batches / accumulated) * _limit(trainer.max_epochs))

    def _judge_steps(self, trainer: TrainingView, planned: int) -> None:
        steps, epochs = _limit(trainer.max_steps), _limit(trainer.max_epochs)
        if steps and epochs and planned and not self.debugging and steps < self.least * planned:
            self.alarm(
                "steps-short",
                f"max_steps is {steps}, which ends the training after {steps / planned:.0%} of the {planned} steps in "
                f"max_epochs={epochs} epochs",
                "Set only one of max_steps and max_epochs, or increase max_steps, which counts optimizer steps, not "
                "batches.",
            )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._in_epoch = 0
        self._averaging = False

    @pace.counting
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, times: int = 1
    ) -> None:
        self._batches += times
        self._in_epoch += times
        self._averaging |= trainer.skips_backward

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1
        expected = trainer.num_training_batches
        first_of_resumed = self._resumed and self._epochs == 1
        # Weight averaging iterates over the data once more, with one more batch than there is.
        if first_of_resumed or self._averaging or self.debugging or trainer.should_stop or self._steps_reached(trainer):
            return
        if _whole(expected) and self._in_epoch < expected and not _estimated(trainer.train_dataloader):
            self.alarm(
                "batches-left-out",
                f"epoch {trainer.current_epoch} ended early, after {self._in_epoch} of its {expected} batches: the "
                f"last {expected - self._in_epoch} are missing, without a request to stop",
                "Look for a StopIteration that leaves the step or the dataset, and for on_train_batch_start "
                "returning -1: either ends the epoch, and its validation is skipped.",
            )

    def on_validation_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._validated = 0

    def on_validation_batch_end(self, trainer: TrainingView, *args: Any, **kwargs: Any) -> None:
        self._validated += 1

    def on_validation_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        expected = promised_batches(trainer, sanity=not self._started or trainer.sanity_checking)
        if self._validated < expected < math.inf and not _estimated(trainer.val_dataloaders):
            self.alarm(
                "validation-cut-short",
                f"validation was cut short: {self._validated} of {expected} validation batches were seen, fewer than "
                "the loader has, and metrics are logged for fewer data",
                f"Look for a StopIteration that leaves {self.terms.validation}, for instance from next() of another "
                "iterator.",
            )

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        epochs, done = _limit(trainer.max_epochs), self._epochs_before + self._epochs
        if trainer.should_stop:
            return
        if self._steps_reached(trainer):
            if self._batches and not self._resumed and epochs and not self.debugging and done < self.least * epochs:
                self.alarm(
                    "steps-short",
                    f"max_steps={trainer.max_steps} ended the training short, in epoch {done} of {epochs}",
                    "Set only one of max_steps and max_epochs, or increase max_steps, which counts optimizer steps, "
                    "not batches.",
                )
        elif epochs and done < epochs:
            self.alarm(
                "epochs-left-out",
                f"the training ended early, after {done} of {epochs} epochs: fewer epochs than requested, and neither "
                "max_steps nor should_stop is the reason",
                "Look for a StopIteration that leaves on_train_epoch_end, or another hook at the end of an epoch.",
            )

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._batches and not trainer.global_step and not self.debugging:
            self.alarm(
                "nothing-trained",
                f"{self.terms.training} ended without a batch or a step: the model is unchanged and was never trained",
                "Check whether the training loader is empty, or a limit (max_epochs, max_steps, limit_train_batches) "
                "is zero.",
            )

        # A time limit, or an earlier request to stop, is reason enough.
        reached = self._steps_reached(trainer) or 0 < _limit(trainer.max_epochs) <= trainer.current_epoch
        if not self._batches and trainer.global_step and reached and not trainer.should_stop and not self.debugging:
            origin = trainer.ckpt_path
            self.alarm(
                "nothing-left",
                f"{self.terms.training} ended without training: "
                f"{f'the checkpoint {origin}' if origin else 'the Trainer'} is at epoch "
                f"{trainer.current_epoch} and step {trainer.global_step}, so that max_epochs={trainer.max_epochs}, "
                f"max_steps={trainer.max_steps} are reached",
                "Increase max_epochs, which counts from the very start and not from the checkpoint, or use another "
                "ckpt_path or a new Trainer.",
            )

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        if isinstance(exception, SystemExit) and not exception.code:
            signalled = "SIGTERM" in type(exception).__name__.upper()
            how = "the process was terminated by the signal SIGTERM" if signalled else "exit was called (SystemExit)"
            self.alarm(
                "exited-as-success",
                f"{how} after {self._batches} batches, and would exit with status 0 in the middle of the training",
                "Exit with another status than 0, since the training is not complete.",
            )

    @staticmethod
    def _steps_reached(trainer: TrainingView) -> bool:
        steps = _limit(trainer.max_steps)
        return bool(steps) and trainer.global_step >= steps


def _whole(count: Any) -> bool:
    return isinstance(count, int) or (isinstance(count, float) and math.isfinite(count))


def _limit(value: Any) -> int:
    """Return a limit as a number, 0 if there is none."""
    return value if isinstance(value, int) and value > 0 else 0


def _estimated(loaders: Any) -> bool:
    """Return whether a loader has no length, so that only a limit is known, or only its dataset's own estimate."""
    if not parameter_samples.counted(loaders):
        return True
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    each = loaders if isinstance(loaders, (list, tuple)) else [loaders]
    return any(isinstance(getattr(loader, "dataset", None), IterableDataset) for loader in each)
