"""The guard that checks that validation runs when due, on all of its batches, and not on training data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data import IterableDataset

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.training_view import TrainingView
from faultlab.guards.support.validation_length import promised_batches


class ValidationRuns(Guard):
    """A guard against validation that never runs though it has data, that is cut short, or that uses training data.

    Samples are recognized by the values of their inputs, in validations of at least 64 distinct samples, since small
    sets repeat by chance. They are not compared if something else separates training from validation: masks within the
    batch, or a single batch with the whole data. Loaders without a length are not judged.

    Args:
        overlap: The share of validation samples that may also occur in training.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "never-runs": "there are validation data, but validation never runs",
        "empty": "the validation data are empty",
        "cut-short": "validation ended before its last batch",
        "skipped": "an epoch ended without the validation that was due",
        "on-training-data": "many validation samples also occur in training",
    }
    causes = {
        "never-runs": "never validated, no validation, limit_val_batches, val_dataloader, validation_step",
        "empty": "no validation, empty, zero batches, drop_last, smaller, dataset, metric",
        "cut-short": "validation batches, cut short, ended early, fewer samples, exhausted, iterator, "
        "stopiteration, never logged, metric, dataset, validation_step",
        "skipped": "validation, batches, epoch, cut short, short, training",
        "on-training-data": "same data, leak, disjoint, samples, training, validation",
    }
    _MOST = 20_000
    _LEAST = 64

    def __init__(self, overlap: float = 0.3, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.overlap = overlap
        self._reset()

    def _reset(self) -> None:
        self._batches = self._runs_in_epoch = self._runs = self._train_batches = self._first = 0
        self._validation: set[float] = set()
        self._training: set[float] = set()
        self._counted = self._drawn = self._shared = 0
        self._whole = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if not trainer.plans_validation:
            self.skip("when validation is due is decided by the loop")
        self._whole = trainer.num_training_batches == 1 == promised_batches(trainer, sanity=False)
        if not trainer.has_validation_data:
            return
        if trainer.limit_val_batches == 0:
            self.alarm(
                "never-runs",
                "there is a validation loader, but limit_val_batches is 0, so validation never runs",
                "Leave limit_val_batches at 1.0, or remove the validation data.",
            )
        elif trainer.enable_validation is False:
            self.alarm(
                "never-runs",
                "there is a validation loader, but the module has no validation_step, so it is never validated",
                "Check the spelling of validation_step.",
            )
        elif promised_batches(trainer) == 0:
            self.alarm(
                "empty",
                "the validation loader is empty: it has zero batches, so no validation metric will be logged",
                "Check whether the validation dataset is empty, or smaller than one batch that drop_last drops.",
            )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._runs_in_epoch = 0
        self._train_batches = 0

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._batches = 0

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # The first validation and the sanity check before it show all samples.
        if batch is None or self._runs or not trainer.is_fitting or len(self._validation) > self._MOST:
            return
        # Lightning restores the random state after the sanity check, so generated data repeat.
        if trainer.sanity_checking and _is_made_up(trainer.val_dataloaders):
            return
        if not batch_idx and not dataloader_idx and not trainer.sanity_checking:
            # Validation repeats the samples of the sanity check.
            self._validation, self._counted, self._shared = set(), 0, 0
        seen = batch_view.look(batch)
        keys = seen.input_keys if _is_telling(seen) else []
        self._counted += len(keys)
        fresh = set(keys) - self._validation
        self._validation |= fresh
        self._shared += len(fresh & self._training)

    def on_validation_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._batches += 1

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        batch_view.forget()
        if not trainer.is_fitting:
            return
        self.looked += 1
        promised, came = promised_batches(trainer), self._batches
        if not trainer.sanity_checking:
            self._runs_in_epoch += 1
            self._runs += 1
        if not math.isinf(promised) and came < promised and not trainer.is_interrupted:
            self.alarm(
                "cut-short",
                f"validation ended early, with {came} of {promised} validation batches: it was cut short, and metrics "
                "are of fewer samples or were never logged",
                f"Look for a StopIteration that leaves {self.terms.validation} or the dataset.",
            )
        elif math.isinf(promised) and not trainer.sanity_checking:
            self._compare_with_first(trainer, came)
        self._overlap()

    def _compare_with_first(self, trainer: TrainingView, came: int) -> None:
        """Compare later validations with the first one, for loaders without a length."""
        if self._runs == 1:
            self._first = came
        elif came < self._first / 2 and not trainer.is_interrupted:
            self.alarm(
                "cut-short",
                f"validation had {came} validation batches, but the first one had {self._first}: the loader is "
                "exhausted, and metrics are of fewer samples or were never logged",
                "Return a fresh iterator from the loader's __iter__, not a generator or an iterator that runs only "
                "once.",
            )

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch and self._runs) or len(self._training) > self._MOST:
            return
        if not pace.due(trainer) or not _is_telling(seen := batch_view.look(batch)):
            return
        fresh = set(seen.input_keys) - self._training
        self._training |= fresh
        self._drawn += len(seen.input_keys)
        shared = len(fresh & self._validation)
        self._shared += shared
        if shared:
            self._overlap()

    @pace.counting
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, times: int = 1
    ) -> None:
        batch_view.forget()
        self._train_batches += times

    def _overlap(self) -> None:
        distinct, count = len(self._validation), self._counted
        if distinct < self._LEAST or self._whole:
            return
        # Samples with few categories are equal by chance, as often as validation samples are among themselves.
        pairs = (count - distinct + 3) / (count * (count - 1) / 2)
        by_chance = -math.expm1(-pairs * self._drawn)
        if self._shared > max(self.overlap, 2 * by_chance) * distinct:
            self.alarm(
                "on-training-data",
                f"{self._shared} of {distinct} validation samples also occur in training: the same data leak into "
                "validation",
                "Check that the two splits are disjoint, and that each loader gets its own.",
            )

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        every = trainer.check_val_every_n_epoch
        interval = trainer.val_check_interval
        due = every and (trainer.current_epoch + 1) % every == 0 and interval == 1.0
        if not due or self._runs_in_epoch or not trainer.enable_validation:
            return
        promised = trainer.num_training_batches
        complete = self._train_batches > 0 and (math.isinf(promised) or self._train_batches >= promised)
        # An epoch that lost batches has lost its validation with them.
        if promised_batches(trainer) and not trainer.is_interrupted and (complete or not _is_over(trainer)):
            self.alarm(
                "skipped",
                f"epoch {trainer.current_epoch} ended without the validation that was due, after "
                f"{self._train_batches} of {promised} training batches",
                "Check whether the training loader yields its last batch, or whether the epoch was cut short.",
            )


def _is_made_up(loaders: Any) -> bool:
    each = loaders if isinstance(loaders, (list, tuple)) else [loaders]
    return any(isinstance(getattr(loader, "dataset", None), IterableDataset) for loader in each)


def _is_over(trainer: TrainingView) -> bool:
    limit = trainer.max_steps
    return bool(trainer.should_stop or (limit is not None and 0 <= limit <= trainer.global_step))


def _is_telling(seen: batch_view.Look) -> bool:
    """Return whether inputs identify samples: a single number, or a few tokens, repeat by chance."""
    inputs = seen.inputs
    return inputs is not None and inputs.numel() >= 6 * len(inputs) and not _is_masked(seen, len(inputs))


def _is_masked(seen: batch_view.Look, samples: int) -> bool:
    """Return whether a part of the batch is a mask over samples, as if the whole graph is in each batch."""
    return any(
        tensor.dtype is torch.bool and path != seen.label_path and tensor.shape == (samples,)
        for path, tensor in seen.usual.items()
    )
