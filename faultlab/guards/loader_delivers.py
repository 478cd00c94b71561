"""The guard that checks that the training loader yields as many batches as it promises, of the requested size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, default_collate

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace, parameter_samples
from faultlab.guards.support.trainer_view import hyperparameters
from faultlab.guards.support.training_view import TrainingView


class LoaderDelivers(Guard):
    """A guard against epochs with too few batches, batches that are too small, and a training without any batch.

    It expects the trainer's number of training batches, and batches of the loader's ``batch_size``, which it compares
    with the hyperparameter ``batch_size`` of the module or the datamodule. An end that was requested (``should_stop``,
    ``max_steps``) is allowed. Batches of loaders with batch samplers or streams of their own may have any size.

    Args:
        samples: The expected number of training samples, None if unknown.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "nothing-trained": "fit ended without training on any batch",
        "short-epoch": "an epoch had fewer batches than promised, or than the first one",
        "early-end": "fit ended before the last epoch without a request to stop",
        "batch-size": "the loader's batch size differs from the hyperparameters",
        "small-batch": "a batch has fewer samples than the loader's batch size",
        "samples": "the training data have another number of samples than declared",
    }
    causes = {
        "nothing-trained": "never trained, no step, no training batch, empty, zero batches, drop_last, "
        "limit_train_batches, epochs",
        "short-epoch": "batches, epoch, cut short, short, length, exhausted, iterator, stopiteration, missing, "
        "dataset, validation, return",
        "early-end": "ended early, fewer epochs, stopiteration, hook",
        "batch-size": "batch size, batch_size, dataloader",
        "small-batch": "batch size, fewer samples, one sample, 1 sample, dropped, merged, collate, hook",
        "samples": "dataset, length, samples, truncated, duplicated, read, training data",
    }

    def __init__(self, samples: int | None = None, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.samples = samples
        self._reset()

    def _reset(self) -> None:
        self._trained = self._in_epoch = self._last_epoch = 0
        self._small = 0
        self._averaging = False
        self._first_epoch: int | None = None
        self._resumed = False
        self._size: int | None = None
        self._strict = self._full = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._resumed = bool(trainer.global_step)
        self._last_epoch = trainer.current_epoch
        if trainer.train_dataloader is None:
            self.skip("the training loader is not known")
        loader = _plain_loader(trainer.train_dataloader)
        if loader is None:
            return
        self._size = loader.batch_size
        self._strict = loader.collate_fn is default_collate
        wanted = _hyperparameter(trainer, pl_module)
        # Devices share a batch, and so do the accumulated batches of a step.
        parts = {wanted, wanted // max(1, trainer.accumulate_grad_batches)} if wanted else set()
        if parts and self._size and self._size not in parts and trainer.world_size == 1:
            self.alarm(
                "batch-size",
                f"the training loader's batch size is {self._size}, but the hyperparameter batch_size is {wanted}",
                "Check that the setting is passed to the DataLoader, under the name that it reads.",
            )
        count = len(loader.dataset) if isinstance(loader.dataset, Sized) else None
        if self.samples is not None and count is not None and count != self.samples:
            self.alarm(
                "samples",
                f"the training dataset has a length of {count} samples, but should have {self.samples}",
                "Check whether the dataset is truncated or duplicated where it is read.",
            )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._in_epoch = self._small = 0
        self._averaging = False
        self._last_epoch = trainer.current_epoch

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        small, self._small = self._small, 0
        if small and batch_idx:
            self._alarm_of(small, batch_idx - 1)
        if not self._size or self._size < 2 or not pace.due(trainer):
            return
        seen = batch_view.look(batch)
        count = seen.samples
        if count is None or count >= self._size:
            self._full |= count == self._size
            return
        # Without an earlier batch of the full size, a user's collate_fn may lay out batches in its own way.
        if not (self._strict or self._full) or self._size in _first_sides(seen):
            return
        length = min(trainer.num_training_batches, _length(trainer.train_dataloader))
        if math.isinf(length):
            # The last batch may be small, which this one is not if another follows.
            self._small = count
        elif batch_idx + 1 < length:
            self._alarm_of(count, batch_idx)

    def _alarm_of(self, count: int, batch_idx: int) -> None:
        self.alarm(
            "small-batch",
            f"{self.batch_name(batch_idx)} has {count} sample{'s' * (count != 1)}, fewer than the batch size of "
            f"{self._size}",
            "Check whether collate_fn or a transfer hook drops or merges samples.",
        )

    @pace.counting
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, times: int = 1
    ) -> None:
        batch_view.forget()
        self._in_epoch += times
        self._averaging |= trainer.skips_backward
        self._trained += times

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self.looked += 1
        promised, came = trainer.num_training_batches, self._in_epoch
        first = self._first_epoch
        if self._resumed and first is None:
            # A resumed epoch has fewer batches left.
            self._first_epoch, self._resumed = came, False
            return
        self._first_epoch = max(came, first or 0)
        # Weight averaging iterates over the data once more, with one more batch than there is.
        if _was_stopped(trainer) or self._averaging:
            return
        if not math.isinf(promised) and parameter_samples.counted(trainer.train_dataloader):
            if came < promised:
                self._cut_short(f"{came} of the {promised} batches of the loader's length", trainer)
        elif first and came < first / 2:
            self._cut_short(f"{came} batches, but the first one had {first}", trainer)
        elif not came:
            self._cut_short("no batch at all", trainer)

    def _cut_short(self, what: str, trainer: TrainingView) -> None:
        self.alarm(
            "short-epoch",
            f"epoch {trainer.current_epoch} had {what}: it was cut short, and its validation may be missing too",
            "Check the loader's iterator and length, look for a StopIteration that leaves the step or the dataset, "
            "and check that on_train_batch_start does not return -1.",
        )

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        limit = trainer.max_epochs
        if self._trained and limit is not None and 0 < self._last_epoch + 1 < limit and not _was_stopped(trainer):
            self.alarm(
                "early-end",
                f"the training ended early, after epoch {self._last_epoch} of {limit}, with fewer epochs than planned "
                "and without a request to stop",
                "Look for a StopIteration that leaves a hook, such as on_train_epoch_end.",
            )

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        # A training that resumes at its end, or whose time is up, has nothing left to do.
        if self._trained or trainer.global_step or trainer.should_stop:
            return
        limit, promised = trainer.limit_train_batches, trainer.num_training_batches
        reason = f"max_epochs is {trainer.max_epochs}, max_steps is {trainer.max_steps}"
        if limit == 0:
            reason = "limit_train_batches is 0"
        elif promised == 0:
            loader = _plain_loader(trainer.train_dataloader)
            count = len(loader.dataset) if loader is not None and isinstance(loader.dataset, Sized) else "any number of"
            reason = f"the training loader is empty: zero batches of {count} samples"
            if loader is not None and loader.drop_last:
                reason += f" (drop_last, at a batch size of {loader.batch_size})"
        self.alarm(
            "nothing-trained",
            f"{self.terms.training} ended without a step or a training batch, so the model was never trained: {reason}",
            "Provide data and epochs to train on before the model is used.",
        )


def _was_stopped(trainer: TrainingView) -> bool:
    limit = trainer.max_steps
    steps = limit is not None and 0 <= limit <= trainer.global_step
    return steps or trainer.should_stop or trainer.is_interrupted


def _length(loader: Any) -> float:
    """Return the number of batches of the only training loader, infinity if it is unknown."""
    plain = _plain_loader(loader)
    try:
        return math.inf if plain is None else len(plain)
    except TypeError:  # of a sampler without a length
        return math.inf


def _plain_loader(loader: Any) -> DataLoader[Any] | None:
    """Return the only training loader, if it is a DataLoader of a map-style dataset."""
    if isinstance(loader, (list, tuple)) and len(loader) == 1:
        loader = loader[0]
    plain = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    return loader if plain else None


def _hyperparameter(trainer: TrainingView, pl_module: Any) -> int | None:
    """Return the batch size that the datamodule or the module declares."""
    for owner in (trainer.datamodule, pl_module):
        declared = hyperparameters(owner)
        for name in ("train_batch_size", "batch_size"):
            value = declared.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def _first_sides(seen: batch_view.Look) -> set[int]:
    """Return the sizes of the first two dimensions, since either may be that of samples."""
    return {side for tensor in seen.usual.values() for side in tensor.shape[:2]}
