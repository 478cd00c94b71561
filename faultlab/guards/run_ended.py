"""The training ran as long as it was asked to, and ended for a reason that somebody gave."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch.utils.data import IterableDataset

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.support.validation_length import promised_batches


class RunEnded(Guard):
    """Detects a training that does less than was asked for and still ends as if it were done.

    It is meant for a real training. For one that is cut short on purpose, say ``debugging=True``: `fast_dev_run` and
    `overfit_batches` are then let pass, and epochs of any length. Where both ``max_steps`` and ``max_epochs`` are
    given, steps that are worth less than ``least`` of the epochs are taken for a rest of some trial.

    It keeps quiet about a training that a callback stopped (``should_stop``), about the lengths of iterable datasets,
    which are estimates, and about exceptions, which are loud by themselves unless they exit with status 0.
    """

    checks = {
        "exited-as-success": "the process exits with status 0 in the middle of the training",
        "nothing-trained": "the training ended without a single batch",
        "nothing-left": "the training was over before it began, at its end as reached earlier",
        "debugging-left-on": "fast_dev_run or overfit_batches is on",
        "steps-short": "max_steps ends the training long before max_epochs",
        "batches-left-out": "an epoch of training ended before its last batch",
        "validation-cut-short": "a validation ended before its last batch",
        "epochs-left-out": "the training ended before its last epoch, and nobody had asked it to",
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
        self._epochs_before = self._epochs = self._last_batch = 0
        self._resumed = self._started = self._averaging = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()
        if self.debugging:
            return
        if trainer.fast_dev_run:
            self.alarm(
                "debugging-left-on",
                "fast_dev_run is on: a batch or a few are trained on, no epoch is complete, and nothing is saved",
                "Take fast_dev_run out, or construct the guard with debugging=True if that is what you want.",
            )
        if overfit := trainer.overfit_batches:
            self.alarm(
                "debugging-left-on",
                f"overfit_batches is {overfit}: each epoch trains on the same batches and validates on as many",
                "Take overfit_batches out, or construct the guard with debugging=True if that is what you want.",
            )
        for name, what in (("max_epochs", "epoch"), ("max_steps", "step"), ("limit_train_batches", "batch")):
            if getattr(trainer, name, None) == 0:
                self.alarm(
                    "nothing-trained",
                    f"{name} is 0: no {what} will be trained, no step taken, and fit will return as if it were done",
                    "Does the limit come out of a calculation, or of an argument that was not given?",
                )

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._started = True
        self._epochs_before = trainer.current_epoch
        self._resumed = trainer.global_step > 0
        if _limit(trainer.max_epochs) or _limit(trainer.max_steps) or not math.isinf(trainer.num_training_batches):
            self.looked += 1
        else:
            self.skip("how long the training is to be is not known")
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
                "Give one of max_steps and max_epochs, or raise max_steps; it counts optimizer steps, not batches.",
            )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._in_epoch = 0
        self._averaging = False

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        self._in_epoch += 1
        self._averaging |= trainer.skips_backward
        self._last_batch = batch_idx

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1
        expected = trainer.num_training_batches
        first_of_resumed = self._resumed and self._epochs == 1
        # Weight averaging goes over the data once more, with a batch more than there is.
        if first_of_resumed or self._averaging or self.debugging or trainer.should_stop or self._steps_reached(trainer):
            return
        if _whole(expected) and self._in_epoch < expected and not _estimated(trainer.train_dataloader):
            self.alarm(
                "batches-left-out",
                f"epoch {trainer.current_epoch} ended early, after {self._in_epoch} of its {expected} batches: the "
                f"last {expected - self._in_epoch} are missing, and nobody asked to stop",
                "Does a StopIteration leave the step or the dataset, or does on_train_batch_start return -1? Either "
                "ends the epoch and its validation is skipped.",
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
                "the loader has, and what is logged is that of less data",
                "Does a StopIteration leave validation_step, as from a next() of another iterator?",
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
                    "Give one of max_steps and max_epochs, or raise max_steps; it counts optimizer steps, not batches.",
                )
        elif epochs and done < epochs:
            self.alarm(
                "epochs-left-out",
                f"the training ended early, after {done} of {epochs} epochs: fewer epochs than asked for, and neither "
                "max_steps nor should_stop says why",
                "Does a StopIteration leave on_train_epoch_end, or another hook at the end of an epoch?",
            )

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._batches and not trainer.global_step and not self.debugging:
            self.alarm(
                "nothing-trained",
                "fit ended and no batch was trained on, no step was taken: the model is as it was before, never "
                "trained",
                "Is the training loader empty, or a limit (max_epochs, max_steps, limit_train_batches) zero?",
            )

        # A run of the clock alone, or a stop that was asked for before, says itself that there is nothing to do.
        reached = self._steps_reached(trainer) or 0 < _limit(trainer.max_epochs) <= trainer.current_epoch
        if not self._batches and trainer.global_step and reached and not trainer.should_stop and not self.debugging:
            origin = trainer.ckpt_path
            self.alarm(
                "nothing-left",
                f"fit ended and trained on nothing: {f'the checkpoint {origin}' if origin else 'the Trainer'} is at "
                f"epoch {trainer.current_epoch} and step {trainer.global_step}, and max_epochs={trainer.max_epochs}, "
                f"max_steps={trainer.max_steps} are reached",
                "Raise max_epochs (it counts from the very beginning, not from the checkpoint), or begin anew: "
                "another ckpt_path, or a new Trainer.",
            )

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        if isinstance(exception, SystemExit) and not exception.code:
            signalled = "SIGTERM" in type(exception).__name__.upper()
            how = (
                "the process was terminated by the signal SIGTERM" if signalled else "somebody called exit (SystemExit)"
            )
            self.alarm(
                "exited-as-success",
                f"{how} after {self._batches} batches, and would exit with status 0 in the middle of the training",
                "Whoever started the run has to know that it is not complete: make the exit status another than 0.",
            )

    @staticmethod
    def _steps_reached(trainer: TrainingView) -> bool:
        steps = _limit(trainer.max_steps)
        return bool(steps) and trainer.global_step >= steps


def _whole(count: Any) -> bool:
    return isinstance(count, int) or (isinstance(count, float) and math.isfinite(count))


def _limit(value: Any) -> int:
    """A limit as a number, 0 where there is none."""
    return value if isinstance(value, int) and value > 0 else 0


def _estimated(loaders: Any) -> bool:
    """Whether some loader has no length, so that its limit is all that is known, or its dataset's own guess of it."""
    if not parameter_samples.counted(loaders):
        return True
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    each = loaders if isinstance(loaders, (list, tuple)) else [loaders]
    return any(isinstance(getattr(loader, "dataset", None), IterableDataset) for loader in each)
