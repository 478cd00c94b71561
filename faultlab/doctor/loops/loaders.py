"""In the victim: the loaders that a loop iterates over, what they yield, and which of them it learns from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch

from faultlab.core.asking import asked
from faultlab.doctor import batches
from faultlab.doctor.loops import relation
from faultlab.doctor.samples import Samples

_LOOKED_AT, _IGNORED = 16, -100


class Loader:
    """One loader: how often it was iterated over, its batches, and the ids of the models that learn from them."""

    def __init__(self, loader: Any, place: str) -> None:
        self.loader, self.place = loader, place
        self.dataset = asked(loader, "dataset")
        self.iterations = self.delivered = 0
        self.learners: set[int] = set()
        self.evaluated: set[int] = set()
        self.batch: dict[str, Any] = {}
        self.ignored: float | None = None
        self.samples = Samples()

    @property
    def learns(self) -> bool:
        return bool(self.learners)

    @property
    def evaluates(self) -> bool:
        return bool(self.evaluated)

    def facts(self) -> dict[str, Any]:
        """Return what is known of the loader as plain data."""
        found: dict[str, Any] = {"place": self.place, "iterations": self.iterations, "delivered": self.delivered}
        for name, thing in (("batches", self.loader), ("samples", self.dataset)):
            try:
                found[name] = len(thing)
            except Exception:  # no length, or one that raises
                found[name] = None
        found["batch_size"] = asked(self.loader, "batch_size")
        found["drop_last"] = bool(asked(self.loader, "drop_last", False))
        found.update(learns=self.learns, evaluates=self.evaluates)
        return found


class Loaders:
    """All loaders of a loop, by their datasets: a loop may make them again for each epoch.

    ``whole`` is the length of the dataset that the last batch is from.
    """

    def __init__(self, place: Callable[[], str], asking: Callable[[], None]) -> None:
        self.known: list[Loader] = []
        self.passes = 0
        self.whole: int | None = None
        self._place, self._asking = place, asking
        self._pending: list[Loader] = []

    def iterating(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``DataLoader.__iter__`` to follow the batches."""

        def around(loader: Any) -> Iterator[Any]:
            one = self._of(loader)
            one.iterations += 1
            self.passes += 1
            return self._through(one, iterate(loader))

        return around

    def learnt(self, model: int) -> None:
        """Note a backward pass: the batches since the last one are learnt from by the model with an id."""
        for one in self._pending:
            one.learners.add(model)
        self._pending = []

    def evaluated(self, model: int) -> None:
        """Note a call of a model without gradients: the batches since the last backward pass are not learnt from."""
        for one in self._pending:
            one.evaluated.add(model)
        self._pending = []

    @property
    def training(self) -> list[Loader]:
        """The loaders that are learnt from; the first one if there is none."""
        return [one for one in self.known if one.learns] or self.known[:1]

    def samples(self) -> dict[str, Any]:
        """Return the facts of `Samples` about the first training loader."""
        training = self.training
        if not training:
            return {}
        others = [one.loader for one in self.known if one not in training]
        training[0].samples.end(SimpleNamespace(train_dataloader=training[0].loader, val_dataloaders=others))
        return training[0].samples.found

    def order(self) -> dict[str, Any]:
        """Return the facts of `relation.of_dataset` about the training data."""
        dataset = self.training[0].dataset if self.training else None
        if not hasattr(type(dataset), "__getitem__") or not hasattr(type(dataset), "__len__"):
            return {}
        return relation.of_dataset(dataset)

    def relabeled(self) -> dict[str, Any]:
        """Return the shares of labels that are ignored in the first training samples and in the first batch."""
        one = self.training[0] if self.training else None
        if one is None or one.ignored is None:
            return {}
        try:
            rows = [one.dataset[index]["labels"] for index in range(min(_LOOKED_AT, len(one.dataset)))]
        except Exception:  # samples without labels, or no index
            return {}
        labels = [int(label) for row in rows for label in row]
        own = sum(label == _IGNORED for label in labels) / max(1, len(labels))
        return {"own": own, "given": one.ignored, "place": one.place}

    def validates_on_training(self) -> bool:
        """Return whether everything that is evaluated is what the loop learns from."""
        evaluated = [one for one in self.known if one.evaluates]
        return bool(evaluated) and all(
            any(one is other or _shared(one.dataset, other.dataset) for other in self._learnt_by(one.evaluated))
            for one in evaluated
        )

    def _learnt_by(self, models: set[int]) -> list[Loader]:
        """Return the loaders that some models learn from; those of all models for copies that do not learn."""
        learnt = [one for one in self.known if one.learns]
        # In cross-validation each model has samples of its own.
        theirs = models & set[int]().union(*(one.learners for one in learnt))
        return [one for one in learnt if not theirs or one.learners & theirs]

    def _of(self, loader: Any) -> Loader:
        dataset, size = asked(loader, "dataset"), asked(loader, "batch_size")
        for one in self.known:
            if one.loader is loader or (one.dataset is dataset and asked(one.loader, "batch_size") == size
                                        and one.place == self._place()):  # fmt: skip
                return one
        self.known.append(Loader(loader, self._place()))
        return self.known[-1]

    def _through(self, one: Loader, stream: Iterator[Any]) -> Iterator[Any]:
        iterator = iter(stream)
        while True:
            self._asking()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            one.delivered += 1
            if not one.batch:
                one.batch = {
                    "is": batches.described(batch),
                    "kind": batches.kind(batch),
                    "parts": batches.parts(batch),
                    "keys": batches.keys(batch),
                    "types": batches.types(batch),
                }
                one.ignored = _ignored(batch)
            if one.iterations == 1:
                one.samples.batch(batch)
            self._pending.append(one)
            with contextlib.suppress(Exception):  # no length, or one that raises
                self.whole = len(one.dataset)
            yield batch


def _ignored(batch: Any) -> float | None:
    """Return the share of a batch's token labels that losses ignore; None without such labels."""
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(labels, torch.Tensor) or labels.dim() != 2 or labels.is_floating_point():
        return None
    return float((labels == _IGNORED).double().mean())


def _shared(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    if one is other or any(a is b for a in asked(one, "tensors", ()) for b in asked(other, "tensors", ())):
        return True
    mine, theirs = asked(one, "indices"), asked(other, "indices")
    same = asked(one, "dataset") is not None and asked(one, "dataset") is asked(other, "dataset")
    try:
        return bool(same and set(map(int, mine)) & set(map(int, theirs)))
    except TypeError:  # not subsets
        return False
