"""How the data is loaded: the items of a dataset, and the arguments of the DataLoaders over it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)
from torch.utils.data._utils import fetch

from faultlab.core.asking import asked
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.clock import STAGES
from faultlab.injection.loader_workers import Workers
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed, Turns


@dataclass(frozen=True)
class Sample(Seam):
    """The items of the dataset, as they are fetched for a batch. The injector maps item -> item.

    It has its turn in the loaders' workers too, which are copies of the victim: what it remembers there the victim's
    own process does not know. A step's trigger acts at one item, the first of the batch that the step waits for; where
    there is no length, Lightning waits for each batch one step early.
    """

    leaves = frozenset({"backward", "metrics"})
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        workers = Workers(armed)

        def make(get: Callable[..., Any]) -> Callable[..., Any]:
            def fetching(fetcher: Any, *args: Any, **kwargs: Any) -> Any:
                purpose = workers.fetch_for(fetcher)
                if purpose == "nobody":
                    return get(fetcher, *args, **kwargs)
                items = _Items(fetcher.dataset, armed, "one" if purpose == "step" else "late")
                shown = "dataset_iter" if hasattr(fetcher, "dataset_iter") else "dataset"
                genuine = getattr(fetcher, shown)
                setattr(fetcher, shown, items.iterated(genuine) if shown == "dataset_iter" else items)
                try:
                    return get(fetcher, *args, **kwargs)
                finally:
                    setattr(fetcher, shown, genuine)

            return fetching

        for fetcher in (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher):
            patches.wrap(fetcher, "fetch", make)

    def inapplicable(self, recon: Recon) -> str:
        if recon.loading is None:
            return "the training data comes from no DataLoader"
        return "the dataset gives whole batches, and no single items" if recon.loading.whole_batches else ""


class _Items:
    """A dataset as its fetcher sees it, each item of which the fault may map."""

    def __init__(self, dataset: Any, armed: Armed, turns: Turns) -> None:
        self._dataset = dataset
        self._armed = armed
        self._turns = turns
        if asked(dataset, "__getitems__"):
            self.__getitems__ = self._several

    def __getitem__(self, index: Any) -> Any:
        return self._map(self._dataset[index])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def _several(self, indices: Any) -> Any:
        items = self._dataset.__getitems__(indices)
        return list(map(self._map, items)) if isinstance(items, (list, tuple)) else items

    def iterated(self, items: Iterator[Any]) -> Iterator[Any]:
        return map(self._map, items)

    def _map(self, item: Any) -> Any:
        return self._armed.map(item) if self._armed.due(turns=self._turns) else item


@dataclass(frozen=True)
class Loading:
    """The arguments of one DataLoader. ``batch_size`` is None where the loader does not batch.

    ``length`` is the number of batches that it promises, or None where it promises none. ``training`` gives the
    arguments of the (first) training DataLoader, whichever this one is.
    """

    dataset: Any
    shuffled: bool
    batch_size: int | None
    drop_last: bool
    num_workers: int
    worker_init_fn: Callable[[int], Any] | None
    length: int | None = None
    training: Callable[[], Loading] | None = None


@dataclass(frozen=True)
class LoaderArguments(Seam):
    """The arguments of each DataLoader when Lightning takes it over. The injector maps Loading -> Loading."""

    leaves = frozenset({"backward", "metrics"})
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(prepare: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(connector: Any, dataloader: Any, shuffle: bool, mode: Any) -> Any:
                if isinstance(dataloader, DataLoader) and armed.due(STAGES[mode.value]):
                    before = replace(read(dataloader), training=lambda: read(training_loaders(connector.trainer)[0]))
                    dataloader = _rebuilt(dataloader, before, armed.map(before), armed.recon)
                return prepare(connector, dataloader, shuffle, mode)

            return mapped

        for namespace in namespaces.loaded():
            connector = namespaces.part(namespace, "trainer.connectors.data_connector:_DataConnector")
            patches.wrap(connector, "_prepare_dataloader", make)

    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.loading else "the training data comes from no DataLoader"


@dataclass(frozen=True)
class Loaders(Seam):
    """What Lightning is given when it asks for loaders: one, or several in lists and dicts.

    The injector maps loaders -> loaders, whether a hook of the target's returns them or ``fit`` was passed them.
    """

    leaves = frozenset({"backward", "metrics"})
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(ask: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(source: Any) -> Any:
                loaders = ask(source)
                return armed.map(loaders) if armed.due(_STAGES_OF_HOOKS.get(source.name)) else loaders

            return mapped

        for namespace in namespaces.loaded():
            source = namespaces.part(namespace, "trainer.connectors.data_connector:_DataLoaderSource")
            patches.wrap(source, "dataloader", make)


_STAGES_OF_HOOKS = {
    "train_dataloader": "train",
    "val_dataloader": "validate",
    "test_dataloader": "test",
    "predict_dataloader": "predict",
}


def training_loaders(trainer: Any) -> list[DataLoader[Any]]:
    """The DataLoaders that the trainer has for training, or would get by asking for them."""
    loop = trainer.fit_loop
    # A CombinedLoader has a length only while it is iterated, so it can't be asked whether it is true.
    found = loop._data_source.dataloader() if loop._combined_loader is None else loop._combined_loader
    return list(_dataloaders(asked(found, "iterables", found)))


def validation_loaders(trainer: Any) -> list[DataLoader[Any]]:
    """The DataLoaders that the trainer has validated with."""
    return list(_dataloaders(getattr(trainer, "val_dataloaders", None)))


def _dataloaders(found: Any) -> Iterator[DataLoader[Any]]:
    if isinstance(found, DataLoader):
        yield found
    elif isinstance(found, dict):
        for part in found.values():
            yield from _dataloaders(part)
    elif isinstance(found, (list, tuple)):
        for part in found:
            yield from _dataloaders(part)


def is_sized(dataset: Any) -> bool:
    """Whether it has as many items as it says; a stream may have a length, which is no more than a hint."""
    return isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset)


def _length(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader) if is_sized(loader.dataset) else None
    except TypeError:  # its sampler has none
        return None


def samples_as_torch_does(loader: DataLoader[Any]) -> bool:
    """Whether the order of its samples is the plain one or a plain shuffle, so that it can be had anew."""
    batches, sampler = asked(loader, "batch_sampler"), loader.sampler
    if batches is not None and type(batches) is not BatchSampler:
        return False
    if type(sampler) is RandomSampler:
        return not sampler.replacement and sampler._num_samples is None
    return type(sampler) is SequentialSampler or isinstance(loader.dataset, IterableDataset)


def read(loader: DataLoader[Any]) -> Loading:
    """The arguments of a loader that is made already."""
    batches = asked(loader, "batch_sampler")
    return Loading(
        dataset=loader.dataset,
        shuffled=isinstance(loader.sampler, RandomSampler),
        batch_size=loader.batch_size or asked(batches, "batch_size"),
        drop_last=loader.drop_last or bool(asked(batches, "drop_last", False)),
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        length=_length(loader),
    )


def _rebuilt(loader: DataLoader[Any], before: Loading, after: Loading, recon: Recon) -> DataLoader[Any]:
    """A loader of the same class with other arguments; the original, which belongs to the user, stays as it is."""
    if after == before:
        return loader
    new = copy.copy(loader)
    # A DataLoader refuses to have these assigned once it is made, and its subclasses take other arguments.
    own = vars(new)
    own.update(num_workers=after.num_workers, worker_init_fn=after.worker_init_fn)
    if after.length != before.length:
        # len() asks the class.
        new.__class__ = type(type(loader).__name__, (type(loader),), {"__len__": lambda _: after.length})
    same = {name: getattr(before, name) for name in ("num_workers", "worker_init_fn", "length")}
    if replace(after, **same) == before:
        return new
    if after.dataset is not before.dataset or after.shuffled != before.shuffled:
        own["dataset"] = after.dataset
        if not isinstance(after.dataset, IterableDataset):
            shuffled = after.shuffled and len(after.dataset) > 0
            sampler = RandomSampler(after.dataset, generator=loader.generator) if shuffled else None
            own["sampler"] = sampler or SequentialSampler(after.dataset)
    own.update(batch_size=after.batch_size, drop_last=after.drop_last, batch_sampler=None)
    if after.batch_size is not None:
        own["batch_sampler"] = BatchSampler(own["sampler"], after.batch_size, after.drop_last)
    elif own["collate_fn"] is default_collate:
        own["collate_fn"] = default_convert
    return new
