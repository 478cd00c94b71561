"""Validation runs when it should, over all of its batches, and on data that training does not have."""

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
    """Detects validation that never runs though there are data for it, that is cut short, or is on training data.

    ``overlap`` is the share of validation samples that may come in training too, recognised by the values of their
    inputs; it is looked at from 64 distinct validation samples on, since small sets repeat by themselves, and not where
    masks within the batch, or on the whole of the data as one batch anything else, tell training from validation. It
    keeps quiet about validation where there are no data for it, and about loaders without a length.
    """

    checks = {
        "never-runs": "there are validation data and no validation",
        "empty": "the validation data are empty",
        "cut-short": "validation ended before its last batch",
        "skipped": "an epoch ended without the validation that was due",
        "on-training-data": "many validation samples come in training too",
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
            self.skip("when validation comes due is the loop's own affair")
        self._whole = trainer.num_training_batches == 1 == promised_batches(trainer, sanity=False)
        if not trainer.has_validation_data:
            return
        if trainer.limit_val_batches == 0:
            self.alarm(
                "never-runs",
                "there is a validation loader and limit_val_batches is 0, so validation never runs",
                "Leave limit_val_batches at 1.0, or the validation data out.",
            )
        elif trainer.enable_validation is False:
            self.alarm(
                "never-runs",
                "there is a validation loader and the module has no validation_step, so it is never validated",
                "Is validation_step spelt as Lightning calls it?",
            )
        elif promised_batches(trainer) == 0:
            self.alarm(
                "empty",
                "the validation loader is empty: it has zero batches, so that no validation metric will be there",
                "Is the validation dataset empty, or smaller than one batch that drop_last drops?",
            )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._runs_in_epoch = 0
        self._train_batches = 0

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._batches = 0

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # The first pass and the sanity check before it show every sample there is.
        if batch is None or self._runs or not trainer.is_fitting or len(self._validation) > self._MOST:
            return
        # Lightning takes back what the sanity check has drawn, and data that are made up on the way come once more.
        if trainer.sanity_checking and _is_made_up(trainer.val_dataloaders):
            return
        if not batch_idx and not dataloader_idx and not trainer.sanity_checking:
            # The sanity check's samples come again.
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
                f"are of fewer samples or were never logged",
                "Did a StopIteration escape from validation_step or from the dataset?",
            )
        elif math.isinf(promised) and not trainer.sanity_checking:
            self._compare_with_first(trainer, came)
        self._overlap()

    def _compare_with_first(self, trainer: TrainingView, came: int) -> None:
        """Loaders that promise nothing bring as much in a later validation as in the first, or nearly so."""
        if self._runs == 1:
            self._first = came
        elif came < self._first / 2 and not trainer.is_interrupted:
            self.alarm(
                "cut-short",
                f"validation had {came} validation batches where the first one had {self._first}: the loader is "
                "exhausted, and metrics are of fewer samples or were never logged",
                "Does the loader begin anew at each iter(), and is it no generator or iterator that runs only once?",
            )

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

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batch_view.forget()
        self._train_batches += 1

    def _overlap(self) -> None:
        distinct, count = len(self._validation), self._counted
        if distinct < self._LEAST or self._whole:
            return
        # Samples of a few categories are the same by chance, as often as validation samples are among themselves.
        pairs = (count - distinct + 3) / (count * (count - 1) / 2)
        by_chance = -math.expm1(-pairs * self._drawn)
        if self._shared > max(self.overlap, 2 * by_chance) * distinct:
            self.alarm(
                "on-training-data",
                f"{self._shared} of {distinct} validation samples come in training too: the same data, which leak "
                f"into what validation measures",
                "Are the two splits disjoint, and does each loader get its own?",
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
                "Does the training loader bring its last batch, or was the epoch cut short?",
            )


def _is_made_up(loaders: Any) -> bool:
    each = loaders if isinstance(loaders, (list, tuple)) else [loaders]
    return any(isinstance(getattr(loader, "dataset", None), IterableDataset) for loader in each)


def _is_over(trainer: TrainingView) -> bool:
    limit = trainer.max_steps
    return bool(trainer.should_stop or (limit is not None and 0 <= limit <= trainer.global_step))


def _is_telling(seen: batch_view.Look) -> bool:
    """Whether samples are told apart by their inputs: a single number, or a few tokens, come again by chance."""
    inputs = seen.inputs
    return inputs is not None and inputs.numel() >= 6 * len(inputs) and not _is_masked(seen, len(inputs))


def _is_masked(seen: batch_view.Look, samples: int) -> bool:
    """Whether a part says of each sample if it takes part, as where all of a graph comes each time."""
    return any(
        tensor.dtype is torch.bool and path != seen.label_path and tensor.shape == (samples,)
        for path, tensor in seen.usual.items()
    )
