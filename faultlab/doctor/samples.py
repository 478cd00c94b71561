"""In the victim: the samples that a training gets, and whether they stay unchanged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.core.asking import asked
from faultlab.doctor import moved

_LOOKED_AT, _FEW_LABELS = 4096, 20
"""Number of samples of the first epoch that are compared, at most."""


class Samples:
    """Fills ``found`` from the batches of the first epoch.

    ``given`` and ``different`` count samples, ``labelled`` the batches with one label per sample, ``alike`` those of
    them that hold a single label, ``labels`` all different labels. ``changes`` is True if the dataset gives another
    value for the same sample each time and has changed the one it gave before. ``validation_varies`` is True if the
    validation dataset gives another value each time. ``sampler``, ``weights`` and ``samples`` are the training
    loader's. ``present`` has the labels themselves, unless there are many. ``moved`` is what `moved.of` returns.
    ``shared`` counts the validation samples, of how many, that the training set has too.
    """

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"given": 0, "different": 0, "labelled": 0, "alike": 0, "labels": 0}
        self._known: set[int] = set()
        self._labels: set[int] = set()

    def batch(self, batch: Any) -> None:
        """Take in a batch of the first epoch."""
        if self.found["given"] >= _LOOKED_AT:
            return
        tensors = list(_tensors(batch))
        if not tensors or any(len(one) != len(tensors[0]) for one in tensors):
            return
        found, first = self.found, tensors[0].detach().cpu().contiguous().flatten(1 if tensors[0].dim() > 1 else 0)
        self._known |= {hash(row.numpy().tobytes()) for row in first}
        found["given"] += len(first)
        found["different"] = len(self._known)
        labels = [one for one in tensors[1:] if one.dim() == 1 and not one.is_floating_point()]
        if len(labels) == 1 and len(first) > 3:
            here = set(labels[0].tolist())
            self._labels |= here
            found["labelled"] += 1
            found["alike"] += len(here) == 1
            found["labels"] = len(self._labels)
            found["present"] = sorted(self._labels) if len(self._labels) <= _FEW_LABELS else []

    def end(self, trainer: Any) -> None:
        """Read the loader's facts, and its dataset's first sample twice, after the training."""
        loader = trainer.train_dataloader
        dataset, sampler = asked(loader, "dataset"), asked(loader, "sampler")
        self.found["sampler"] = type(sampler).__name__
        weights = asked(sampler, "weights")
        if weights is not None:
            self.found["weights"] = len(weights)
        if not hasattr(type(dataset), "__getitem__") or not hasattr(type(dataset), "__len__") or not len(dataset):
            return
        self.found["samples"] = len(dataset)
        self.found["shared"] = _shared(dataset, getattr(trainer, "val_dataloaders", None))
        # Some datasets can't be asked for sample 0.
        with contextlib.suppress(Exception):
            self.found["changes"] = _asked_twice(dataset)[0]
        with contextlib.suppress(Exception):
            self.found["moved"] = "" if self.found.get("changes") else moved.of(dataset)
        validation = getattr(trainer, "val_dataloaders", None)
        for one in validation if isinstance(validation, (list, tuple)) else [validation]:
            other = asked(one, "dataset")
            if other is not None and other is not dataset and hasattr(type(other), "__getitem__"):
                with contextlib.suppress(Exception):
                    changed, varies = _asked_twice(other)
                    self.found["validation_varies"] = varies and not changed


def _shared(dataset: Any, validation: Any) -> dict[str, int]:
    """Return how many samples of the validation sets, and of how many, the training set has too, by their indices."""
    trained_on, indices = _indices(dataset)
    shared = total = 0
    for one in validation if isinstance(validation, (list, tuple)) else [validation]:
        held_out, others = _indices(asked(one, "dataset"))
        # Two loaders of the whole set are reported elsewhere, and may be meant.
        if held_out is not None and held_out is trained_on and others is not indices:
            whole = range(len(held_out))
            total += len(others if others is not None else whole)
            shared += len(set(indices if indices is not None else whole) & set(others if others is not None else whole))
    return {"shared": shared, "of": total}


def _indices(dataset: Any) -> tuple[Any, list[int] | None]:
    """Return the dataset below nested subsets, and the indices that they take of it; None for all."""
    indices: list[int] | None = None
    while isinstance(given := asked(dataset, "indices"), (list, range)) and asked(dataset, "dataset") is not None:
        indices = [int(one) for one in given] if indices is None else [int(given[one]) for one in indices]
        dataset = asked(dataset, "dataset")
    return dataset, indices


def _asked_twice(dataset: Any) -> tuple[bool, bool]:
    """Return whether a second read of a sample changes the first result, and whether it gives another value."""
    before = list(_values(dataset[0]))
    kept = [value.copy() if hasattr(value, "copy") else value.clone() for value in before]
    after = list(_values(dataset[0]))
    changed = any(_differ(a, b) for a, b in zip(before, kept, strict=True))
    return changed, len(after) != len(kept) or any(_differ(a, b) for a, b in zip(after, kept, strict=True))


def _differ(one: Any, other: Any) -> bool:
    return one.shape != other.shape or bool(((one != other) & (one == one)).any())


def _tensors(batch: Any) -> Iterator[Any]:
    import torch

    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else [batch]
    for part in parts:
        if isinstance(part, torch.Tensor) and part.dim() and part.layout == torch.strided:
            yield part


def _values(sample: Any) -> Iterator[Any]:
    """Yield the tensors and arrays of a sample."""
    import numpy
    import torch

    parts = (
        sample.values() if isinstance(sample, Mapping) else sample if isinstance(sample, (list, tuple)) else [sample]
    )
    for part in parts:
        if isinstance(part, (torch.Tensor, numpy.ndarray)):
            yield part
