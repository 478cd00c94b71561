"""DataLoaders: the arguments that one was created with, and the same loader with other arguments."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sized
from dataclasses import replace
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from faultlab.core.asking import asked
from faultlab.core.class_paths import path_of
from faultlab.injection.values import Loading


def dataloaders_in(found: Any) -> Iterator[DataLoader[Any]]:
    """Yield the DataLoaders in a loader or in a collection of them, such as a list or dict, in order."""
    if isinstance(found, DataLoader):
        yield found
    elif isinstance(found, dict):
        for part in found.values():
            yield from dataloaders_in(part)
    elif isinstance(found, (list, tuple)):
        for part in found:
            yield from dataloaders_in(part)


def is_sized(dataset: Any) -> bool:
    """Return True if the dataset has exactly ``len`` items; the length of a stream is only a hint."""
    return isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset)


def _length(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader) if is_sized(loader.dataset) else None
    except TypeError:  # its sampler has no length
        return None


def sampler_of(loader: DataLoader[Any]) -> Any:
    """Return what draws the samples: of a loader with a batch sampler of its own, that sampler's."""
    batches = asked(loader, "batch_sampler")
    return batches.sampler if type(batches) is BatchSampler else loader.sampler


_SHUFFLES = ("torch.utils.data.sampler.RandomSampler", "accelerate.data_loader.SeedableRandomSampler")
"""The samplers that give every sample once in random order, by class path."""


def samples_as_torch_does(loader: DataLoader[Any]) -> bool:
    """Return True if its samples come in plain or plainly shuffled order, so that the order can be reproduced."""
    batches, sampler = asked(loader, "batch_sampler"), sampler_of(loader)
    if batches is not None and type(batches) is not BatchSampler:
        return False
    if path_of(type(sampler)) in _SHUFFLES:
        return not sampler.replacement and sampler._num_samples is None
    return type(sampler) is SequentialSampler or isinstance(loader.dataset, IterableDataset)


def read(loader: DataLoader[Any]) -> Loading:
    """Return the arguments of an existing loader."""
    batches = asked(loader, "batch_sampler")
    return Loading(
        dataset=loader.dataset,
        shuffled=isinstance(sampler_of(loader), RandomSampler),
        batch_size=loader.batch_size or asked(batches, "batch_size"),
        drop_last=loader.drop_last or bool(asked(batches, "drop_last", False)),
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        length=_length(loader),
    )


def _shuffling(loader: DataLoader[Any], dataset: Any) -> Any:
    """Return a sampler that shuffles a dataset as the loader shuffles its own."""
    own = sampler_of(loader)
    if not isinstance(own, RandomSampler) or type(own) is RandomSampler:
        return RandomSampler(dataset, generator=loader.generator)
    sampler = copy.copy(own)
    sampler.data_source = dataset
    return sampler


class _Sharing(DistributedSampler[Any]):
    """A rank's share of another dataset, in the epochs of the sampler that the training holds."""

    def __init__(self, own: DistributedSampler[Any], dataset: Any) -> None:
        self._own = own
        super().__init__(dataset, own.num_replicas, own.rank, own.shuffle, own.seed, own.drop_last)

    @property
    def epoch(self) -> int:
        return self._own.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._own.epoch = epoch or self._own.epoch


def _sampling(loader: DataLoader[Any], after: Loading) -> Any:
    """Return a sampler of the changed dataset."""
    own = sampler_of(loader)
    if type(own) is DistributedSampler:
        return _Sharing(own, after.dataset)
    shuffled = after.shuffled and len(after.dataset) > 0
    return _shuffling(loader, after.dataset) if shuffled else SequentialSampler(after.dataset)


def rebuilt(loader: DataLoader[Any], before: Loading, after: Loading) -> DataLoader[Any]:
    """Return a loader of the same class with other arguments; the original, which belongs to the user, is unchanged."""
    if after == before:
        return loader
    new = copy.copy(loader)
    # A DataLoader does not allow assigning these after construction, and its subclasses take other arguments.
    own = vars(new)
    own["sampler"] = sampler_of(loader)
    own.update(num_workers=after.num_workers, worker_init_fn=after.worker_init_fn)
    if after.length != before.length:
        # len() looks up the class.
        new.__class__ = type(type(loader).__name__, (type(loader),), {"__len__": lambda _: after.length})
    same = {name: getattr(before, name) for name in ("num_workers", "worker_init_fn", "length")}
    if replace(after, **same) == before:
        return new
    if after.dataset is not before.dataset or after.shuffled != before.shuffled:
        own["dataset"] = after.dataset
        if not isinstance(after.dataset, IterableDataset):
            own["sampler"] = _sampling(loader, after)
    own.update(batch_size=after.batch_size, drop_last=after.drop_last, batch_sampler=None)
    if after.batch_size is not None:
        own["batch_sampler"] = BatchSampler(own["sampler"], after.batch_size, after.drop_last)
    elif own["collate_fn"] is default_collate:
        own["collate_fn"] = default_convert
    return new
