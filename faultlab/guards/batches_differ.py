"""Training sees other samples in every batch, each once an epoch, and in another order every epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.training_view import TrainingView


class BatchesDiffer(Guard):
    """Detects a batch that comes again at once, samples that come many times in an epoch, and an order that stays.

    Samples are recognised by the values of inputs and labels. Duplicates count only where the loader draws each index
    once and validation data, where the same kind of sample comes, have none to speak of; ``duplicates`` is the share
    of an epoch's samples that are let pass. The order matters to map-style datasets of 128 samples and eight batches
    at least; leave the guard out, or say ``shuffled=False``, where the order is meant to stay.
    """

    judges = "batches"
    checks = {
        "repeated-batch": "a batch has the same samples as the batch before it",
        "duplicates": "samples come many times in an epoch",
        "same-order": "every epoch has the same batches in the same order",
    }
    causes = {
        "repeated-batch": "identical batches, overfit_batches, iterator, samples",
        "duplicates": "duplicates, repeated, same, samples, dataset, training, validation, epoch",
        "same-order": "same order, shuffle, batches, epoch, training data, dataloader",
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
        self._once = self._single = False

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
        # Of several loaders a short one may come round again at every step.
        self._single = not isinstance(loader, (list, tuple, dict)) and not hasattr(loader, "iterables")
        sampler = getattr(loader, "sampler", None)
        self._once = numbered and (
            type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
        )

    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1
        self._seen, self._drawn, self._same = set(), 0, 0

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # Once duplicates and order are known, two neighbours now and then show whether batches still differ.
        due = self._epochs <= 2 or pace.due(trainer)
        seen = batch_view.look(batch) if due else None
        if seen is None or seen.inputs is None:
            self._last = None
            return
        inputs = seen.input_keys
        # Of one feature, or none that varies, samples can't be told apart.
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

    def _repeated(self, trainer: TrainingView, key: Any, batch_idx: int) -> None:
        last, self._last = self._last, key
        overfitting = trainer.overfit_batches
        # A dataset of a single batch has no other one to give.
        if key == last and self._single and (trainer.num_training_batches != 1 or overfitting):
            self.alarm(
                "repeated-batch",
                f"batch {batch_idx} is identical to the batch before it, sample for sample"
                + (f": overfit_batches is {overfitting}" if overfitting else ""),
                "Is overfit_batches still on, or does the loader give a fresh iterator's first batch each time?",
            )

    def _in_order(self, trainer: TrainingView, key: int, samples: int, batch_idx: int) -> None:
        if self._epochs == 1 and batch_idx == len(self._order) and len(self._order) < 64:
            self._order.append(key)
        elif self._epochs == 2 and self.shuffled and self._once and batch_idx == self._same < len(self._order):
            self._same += key == self._order[batch_idx]
            if self._same == 8 and samples * 8 >= 128:
                self.alarm(
                    "same-order",
                    "eight batches of this epoch came in the same order as in the first: the loader does not shuffle",
                    "Set shuffle=True in the training DataLoader, or tell the guard that the order is meant to stay.",
                )

    def _duplicated(self) -> None:
        again = self._drawn - len(self._seen)
        if self._drawn < 256 or again <= self.duplicates * self._drawn:
            return
        # As many equal pairs as validation may have among its own, at the rate of its own with some to spare.
        count, same = self._validated, self._validated - len(self._validation)
        pairs = 3 * (same + 1) / max(1.0, count * (count - 1) / 2)
        if again > pairs * self._drawn * (self._drawn - 1) / 2:
            self.alarm(
                "duplicates",
                f"{again} of {self._drawn} training samples are duplicates of others in the same epoch, though each "
                f"index is drawn once; of {count} validation samples {same} are",
                "Hash the samples and count the distinct ones: the dataset repeats some of them.",
            )
