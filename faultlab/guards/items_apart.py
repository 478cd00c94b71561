"""The guard that checks that reading a sample leaves the others, and the stored data, as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import datasets, fetch_calls, pace
from faultlab.guards.support.training_view import TrainingView

_VALUES = 4096
_EPOCHS, _FETCHES = 3, 16
"""The epochs until whose end stored data are compared, and in how many batches of each."""


class ItemsApart(Guard):
    """A guard against samples whose reading changes the stored data, or draws the same numbers in each worker.

    Stored data are arrays and tensors of floats or bytes that a dataset without workers keeps as attributes, with a row
    for each sample. In the second epoch and the third, some of their values are compared before and after a batch is
    read: a cache has been filled by then, and labels that the training revises change at other times.

    A generator that a dataset keeps and draws from is copied into each worker of a loader, in the same state in each
    epoch. This is not judged if the loader has a `worker_init_fn`, or if the dataset seeds its generators by itself.

    Args:
        patience: Fetched batches that have to change stored data to raise the alarm.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {
        "stored-changed": "reading a sample changes the data that the dataset stores",
        "shared-generator": "each worker of the loader draws from a copy of the dataset's generator",
    }
    causes = {
        "stored-changed": "augment, copy, dataset, changes, image, epoch",
        "shared-generator": "worker, generator, seed, same random, augment, copy, epoch",
    }

    def __init__(self, patience: int = 3, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.patience = patience
        self._forget()

    def _forget(self) -> None:
        self._dataset: Any = None
        self._stored: list[tuple[str, Tensor]] = []
        self._before: list[Tensor] = []
        self._epochs = self._looks = self._changes = 0
        self._changed = ""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_dataset": None, "_stored": [], "_before": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        loader = trainer.train_dataloader
        if not isinstance(loader, DataLoader):
            self.skip("the training loader is not known, or not one DataLoader")
            return
        self.looked += 1
        try:
            parts = [*datasets.parts(loader.dataset)]
            stored = [] if loader.num_workers else [one for part in parts for one in datasets.stored(part)]
        except Exception as error:
            self.skip(f"the dataset can't be looked at: {type(error).__name__}: {error}")
            return
        if stored:
            self._dataset, self._stored = loader.dataset, stored
        for part in parts if loader.num_workers else ():
            self._judge_generators(loader, part)

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._epochs += 1
        self._looks = 0
        if self._epochs == 1 and self._stored:
            # In the first epoch a cache is filled.
            fetch_calls.CALLS.observe(self)
        elif self._epochs == _EPOCHS:
            fetch_calls.CALLS.leave(self)

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._leave()

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        self._leave()

    def _leave(self) -> None:
        fetch_calls.CALLS.leave(self)
        self._dataset, self._stored, self._before = None, [], []

    def before_fetch(self, dataset: Any) -> None:
        """Note what is stored.

        Args:
            dataset: The dataset whose samples are about to be read.
        """
        looks = dataset is self._dataset and self._looks < _FETCHES
        self._before = [_sampled(values).clone() for _, values in self._stored] if looks else []

    def after_fetch(self, dataset: Any) -> None:
        """Compare it with what is stored now.

        Args:
            dataset: The dataset whose samples were read.
        """
        before, self._before = self._before, []
        if before:
            self._looks += 1
            changed = [name for (name, values), old in zip(self._stored, before) if _differ(old, values)]
            self._changes += bool(changed)
            self._changed = changed[0] if changed else self._changed

    def _judge_generators(self, loader: DataLoader[Any], dataset: Any) -> None:
        if datasets.is_seeded(loader) or (loader.num_workers == 1 and loader.persistent_workers):
            return
        for name in datasets.generators_drawn_from(dataset):
            count = loader.num_workers
            where = f"each of the {count} workers" if count > 1 else "the worker"
            self.alarm(
                "shared-generator",
                f"{where} of the training loader gets a copy of {type(dataset).__name__}.{name} in the same state, in "
                "each epoch again: random numbers repeat"
                + (", and those of different samples are the same" if count > 1 else ""),
                "Create the generator in the worker, seeded by torch.initial_seed(), or draw from torch's own, which "
                "every worker and epoch has seeded differently.",
            )

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._changes < self.patience:
            return
        self._changes, self._stored = 0, []
        self.alarm(
            "stored-changed",
            f"reading the samples of a batch changes {self._changed}, which stores them, again and again: each epoch "
            "gets what the ones before have left of them",
            "Copy a sample before you change it in place: image = self.images[index].copy(), or .clone().",
        )


def _sampled(values: Tensor) -> Tensor:
    """Return some values of each of many rows; reading them does not depend on the size of the data."""
    flat = values.view(-1)
    return flat[:: -(-len(flat) // _VALUES) | 1]


def _differ(old: Tensor, values: Tensor) -> bool:
    now = _sampled(values)
    # What was zero before is filled.
    return bool(((now != old) & (old != 0) & (old == old)).any()) if now.shape == old.shape else False
