"""The output of the loaders: batches before guards and transfer hooks see them, and the iterator itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import Batch, Loader
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.frameworks.torch.batches import mapped_batch
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Stream

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Batch, framework=NAME)
def batches(point: Batch, patches: Patches, armed: Armed, site: Site) -> None:
    def make(advance: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(fetcher: Any) -> Any:
            item = advance(fetcher)
            if not (isinstance(item, tuple) and len(item) == 3 and armed.due()):
                return item
            batch, batch_idx, dataloader_idx = item
            return mapped_batch(point, batch, armed), batch_idx, dataloader_idx

        return mapped

    for namespace in namespaces.loaded():
        for fetcher in private_api.FETCHERS:
            patches.wrap(private_api.part(namespace, fetcher), "__next__", make)


def _onward(iterator: Iterator[Any]) -> Iterator[Any]:
    """Yield the same items; unlike Lightning's own iterators, this does not restart when iterated again."""
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield item


@hooks(Loader, framework=NAME)
def loader(point: Loader, patches: Patches, armed: Armed, site: Site) -> None:
    def make(begin: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(fetcher: Any) -> Any:
            result = begin(fetcher)
            if armed.due():
                stream = Stream(_onward(fetcher.iterator), fetcher.length)
                new = armed.map(stream)
                if new is not stream:
                    fetcher.iterator, fetcher.length = new.iterator, new.length
                    fetcher.done = new.length == 0
            return result

        return mapped

    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.FETCHER), "__iter__", make)
