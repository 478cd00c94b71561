"""The guard that checks that batches and samples don't repeat within an epoch and are shuffled between epochs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler, SequentialSampler

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.training_view import TrainingView

_ORDERED = 64
"""Batches of the first epoch whose order is remembered."""


class BatchesDiffer(Guard):
    """A guard against repeated batches, duplicate samples in an epoch, and a loader that does not shuffle.

    Samples are recognized by the values of inputs and labels. Duplicates count only if the loader draws each index once
    and validation data have hardly any. The order is compared for map-style datasets of at least 128 samples and eight
    batches. A loader that was not asked to shuffle may be meant, so that it is only warned of. One whose sampler should
    shuffle and does not raises an alarm.

    Args:
        duplicates: The share of an epoch's samples that may be duplicates.
        shuffled: Whether the order is expected to change between epochs. Set it to False if the order is fixed on
            purpose.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {
        "repeated-batch": "a batch has the same samples as the batch before it",
        "duplicates": "samples are repeated many times in an epoch",
        "same-order": "a loader does not shuffle: every epoch has the same batches in the same order (a warning)",
        "shuffled-alike": "a sampler that shuffles draws the same order in every epoch",
    }
    causes = {
        "repeated-batch": "identical batches, overfit_batches, iterator, samples",
        "duplicates": "duplicates, repeated, same, samples, dataset, training, validation, epoch",
        "same-order": "same order, shuffle, batches, epoch, training data, dataloader",
        "shuffled-alike": "same order, shuffle, set_epoch, sampler, seed, generator, batches, epoch, dataloader",
    }
    _MOST = 20_000

    def __init__(
        self,
        duplicates: float = 0.15,
        shuffled: bool = True,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.duplicates = duplicates
        self.shuffled = shuffled
        self._reset()

    def _reset(self) -> None:
        self._last: Any = None
        self._order: list[Any] = []
        self._same = 0
        self._seen: set[Any] = set()
        self._drawn = 0
        self._validation: set[Any] = set()
        self._validated = 0
        self._epochs = 0
        self._once = self._single = self._shuffles = self._by_epoch = False

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._reset()

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.sanity_checking and batch is not None and trainer.is_fitting:
            keys = batch_view.look(batch).input_keys
            self._validation.update(keys)
            self._validated += len(keys)

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        loader = trainer.train_dataloader
        numbered = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
        # A short loader among several may start again at every step.
        self._single = not isinstance(loader, (list, tuple, dict)) and not hasattr(loader, "iterables")
        sampler: Any = getattr(loader, "sampler", None)
        self._by_epoch = isinstance(sampler, DistributedSampler)
        self._shuffles = type(sampler) is RandomSampler or (self._by_epoch and bool(sampler.shuffle))
        self._once = numbered and (
            type(sampler) is SequentialSampler
            or self._by_epoch
            or (type(sampler) is RandomSampler and not sampler.replacement)
        )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1
        self._seen, self._drawn, self._same = set(), 0, 0
        self.dormant = self._epochs > 2

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # Once duplicates and order are known, comparing two neighbors now and then suffices.
        if not self._gathers(batch_idx) and not pace.due(trainer):
            self._last = None
            self.dormant = True
            return
        seen = batch_view.look(batch)
        if seen.inputs is None:
            self._last = None
            return
        inputs = seen.input_keys
        # With a single feature, or constant ones, samples can't be distinguished.
        if len(set(inputs)) < max(2, len(inputs) // 2):
            self._last = None
            return
        key = tuple(inputs), tuple(seen.label_keys)
        self._repeated(trainer, key, batch_idx)
        self._in_order(trainer, hash(key), len(inputs), batch_idx)
        if self._once and self._epochs == 1 and self._drawn < self._MOST:
            self._seen.update(inputs)
            self._drawn += len(inputs)
            if self._validated and seen.inputs.numel() >= 6 * len(inputs):
                self._duplicated()

    on_train_batch_end = batch_view.forgetting

    def _gathers(self, batch_idx: int) -> bool:
        """Return whether a batch is needed to find duplicates, or to compare the order of two epochs."""
        if self._epochs == 1:
            counts = self._once and self._validated and self._drawn < self._MOST
            return bool(counts) or batch_idx == len(self._order) < _ORDERED
        return self._epochs == 2 and batch_idx == self._same < len(self._order)

    def _repeated(self, trainer: TrainingView, key: Any, batch_idx: int) -> None:
        last, self._last = self._last, key
        overfitting = trainer.overfit_batches
        # A dataset of a single batch has no other one.
        if key == last and self._single and (trainer.num_training_batches != 1 or overfitting):
            self.alarm(
                "repeated-batch",
                f"{self.batch_name(batch_idx)} is identical to the previous batch, sample for sample"
                + (f", since overfit_batches is {overfitting}" if overfitting else ""),
                "Turn overfit_batches off, and check that the loader doesn't yield the first batch of a fresh "
                "iterator each time.",
            )

    def _in_order(self, trainer: TrainingView, key: int, samples: int, batch_idx: int) -> None:
        if self._epochs == 1 and batch_idx == len(self._order) and len(self._order) < _ORDERED:
            self._order.append(key)
        elif self._epochs == 2 and self.shuffled and self._once and batch_idx == self._same < len(self._order):
            self._same += key == self._order[batch_idx]
            if self._same == 8 and samples * 8 >= 128:
                self._unshuffled()

    def _unshuffled(self) -> None:
        found = "eight batches of this epoch are in the same order as in the first"
        if not self._shuffles:
            self.advise(
                "same-order",
                f"{found}: the loader does not shuffle",
                "Set shuffle=True in the training DataLoader, or construct the guard with shuffled=False if the order "
                "is fixed on purpose.",
            )
        elif self._by_epoch:
            self.alarm(
                "shuffled-alike",
                f"{found}: the DistributedSampler shuffles by its epoch, which was not set",
                "Call loader.sampler.set_epoch(epoch) before each epoch.",
            )
        else:
            self.alarm(
                "shuffled-alike",
                f"{found}, although the sampler shuffles: it draws the same numbers in every epoch",
                "Seed once before the training and not in each epoch, and give the sampler a generator that is not "
                "seeded again. Construct the guard with shuffled=False if the order is fixed on purpose.",
            )

    def _duplicated(self) -> None:
        again = self._drawn - len(self._seen)
        if self._drawn < 256 or again <= self.duplicates * self._drawn:
            return
        # The number of equal pairs to expect at the rate found in validation, with a margin.
        count, same = self._validated, self._validated - len(self._validation)
        pairs = 3 * (same + 1) / max(1.0, count * (count - 1) / 2)
        if again > pairs * self._drawn * (self._drawn - 1) / 2:
            self.alarm(
                "duplicates",
                f"{again} of {self._drawn} training samples are duplicates of others in the same epoch, though each "
                f"index is drawn once; of {count} validation samples {same} are",
                "Hash the samples and count the distinct ones: the dataset repeats some of them.",
            )
