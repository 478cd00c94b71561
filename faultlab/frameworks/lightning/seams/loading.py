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
from faultlab.frameworks.lightning import NAME, namespaces
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
        connector = namespaces.part(namespace, "trainer.connectors.data_connector:_DataConnector")
        patches.wrap(connector, "_prepare_dataloader", make)


_STORED = ("dataset", "batch_size", "drop_last", "num_workers", "worker_init_fn")


def _stored(loader: DataLoader[Any], before: Loading, after: Loading) -> DataLoader[Any]:
    """Store the changed arguments in the loader: Lightning makes another one of them, to divide it among ranks."""
    own = vars(loader)
    if after == before or "__pl_saved_args" not in own:
        return loader
    names, given = list(own["__pl_saved_arg_names"]), list(own["__pl_saved_args"])
    keywords = dict(own["__pl_saved_kwargs"])
    accepted = inspect.signature(type(loader).__init__).parameters
    for name in _STORED:
        value = getattr(after, name)
        if value == getattr(before, name):
            continue
        if name in names[: len(given)]:
            given[names.index(name)] = value
        elif name in accepted:
            keywords[name] = value
    own.update(__pl_saved_args=tuple(given), __pl_saved_kwargs=keywords, __dataset=after.dataset)
    return loader


@hooks(Loaders, framework=NAME)
def loaders(point: Loaders, patches: Patches, armed: Armed, site: Site) -> None:
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
    """Return the trainer's training DataLoaders, or those that it would get on request."""
    loop = trainer.fit_loop
    # A CombinedLoader has a length only while it is iterated, so testing its truth value fails.
    found = loop._data_source.dataloader() if loop._combined_loader is None else loop._combined_loader
    return list(dataloaders_in(asked(found, "iterables", found)))


def validation_loaders(trainer: Any) -> list[DataLoader[Any]]:
    """Return the DataLoaders that the trainer has used for validation."""
    return list(dataloaders_in(getattr(trainer, "val_dataloaders", None)))
