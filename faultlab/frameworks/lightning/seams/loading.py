"""The loaders: the objects that Lightning receives, and the arguments of each DataLoader among them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from faultlab.catalogue.injection_points import LoaderArguments, Loaders
from faultlab.core.asking import asked
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.frameworks.lightning.clock import STAGES
from faultlab.frameworks.torch.loaders import dataloaders_in, read, rebuilt
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Loading

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(LoaderArguments, framework=NAME)
def loader_arguments(point: LoaderArguments, patches: Patches, armed: Armed, site: Site) -> None:
    def make(prepare: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(connector: Any, dataloader: Any, shuffle: bool, mode: Any) -> Any:
            if isinstance(dataloader, DataLoader) and armed.due(STAGES[mode.value]):
                before = replace(read(dataloader), training=lambda: read(training_loaders(connector.trainer)[0]))
                after = armed.map(before)
                dataloader = _stored(rebuilt(dataloader, before, after), before, after)
            return prepare(connector, dataloader, shuffle, mode)

        return mapped

    for namespace in namespaces.loaded():
        connector = private_api.part(namespace, private_api.DATA_CONNECTOR)
        patches.wrap(connector, private_api.PREPARE_LOADER, make)


_STORED = ("dataset", "batch_size", "drop_last", "num_workers", "worker_init_fn")


def _stored(loader: DataLoader[Any], before: Loading, after: Loading) -> DataLoader[Any]:
    """Store the changed arguments in the loader: Lightning makes another one of them, to divide it among ranks."""
    own = vars(loader)
    if after == before or private_api.SAVED_ARGUMENTS not in own:
        return loader
    names, given = list(own[private_api.SAVED_NAMES]), list(own[private_api.SAVED_ARGUMENTS])
    keywords = dict(own[private_api.SAVED_KEYWORDS])
    accepted = inspect.signature(type(loader).__init__).parameters
    for name in _STORED:
        value = getattr(after, name)
        if value == getattr(before, name):
            continue
        if name in names[: len(given)]:
            given[names.index(name)] = value
        elif name in accepted:
            keywords[name] = value
    own[private_api.SAVED_ARGUMENTS], own[private_api.SAVED_KEYWORDS] = tuple(given), keywords
    own[private_api.SAVED_DATASET] = after.dataset
    return loader


@hooks(Loaders, framework=NAME)
def loaders(point: Loaders, patches: Patches, armed: Armed, site: Site) -> None:
    def make(ask: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(source: Any) -> Any:
            loaders = ask(source)
            return armed.map(loaders) if armed.due(_STAGES_OF_HOOKS.get(source.name)) else loaders

        return mapped

    for namespace in namespaces.loaded():
        source = private_api.part(namespace, private_api.LOADER_SOURCE)
        patches.wrap(source, "dataloader", make)


_STAGES_OF_HOOKS = {
    "train_dataloader": "train",
    "val_dataloader": "validate",
    "test_dataloader": "test",
    "predict_dataloader": "predict",
}


def training_loaders(trainer: Any) -> list[DataLoader[Any]]:
    """Return the trainer's training DataLoaders, or those that it would get on request."""
    # A CombinedLoader has a length only while it is iterated, so testing its truth value fails.
    found = private_api.unread_loaders(trainer.fit_loop)
    return list(dataloaders_in(asked(found, "iterables", found)))


def validation_loaders(trainer: Any) -> list[DataLoader[Any]]:
    """Return the DataLoaders that the trainer has used for validation."""
    return list(dataloaders_in(getattr(trainer, "val_dataloaders", None)))
