"""What the loaders yield: batches before guards and transfer hooks see them, and the iterator itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.injection import tree
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed

# A training_step that asks for `dataloader_iter` pulls its batches through the second.
_FETCHERS = ("loops.fetchers:_PrefetchDataFetcher", "loops.fetchers:_DataFetcherWrapper")


@dataclass(frozen=True)
class Batch(Seam):
    """The batches that the loader yields.

    Without a role the injector maps batch -> batch. With ``role`` (inputs or labels) it maps tensor -> tensor, for
    every leaf of the batch that plays it, but for masks, lengths and indices among the inputs; ``kind`` (floating,
    integer or any) narrows the leaves. Batches are never written into: they may share storage with the dataset, and one
    broken batch would poison every later epoch.
    """

    leaves = frozenset({"backward", "metrics"})
    role: str = ""
    kind: str = "any"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(advance: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(fetcher: Any) -> Any:
                item = advance(fetcher)
                if not (isinstance(item, tuple) and len(item) == 3 and armed.due()):
                    return item
                batch, batch_idx, dataloader_idx = item
                return self._map(batch, armed), batch_idx, dataloader_idx

            return mapped

        for namespace in namespaces.loaded():
            for fetcher in _FETCHERS:
                patches.wrap(namespaces.part(namespace, fetcher), "__next__", make)

    def _map(self, batch: Any, armed: Armed) -> Any:
        if not self.role:
            return armed.map(batch)
        shared, changed = armed.ctx.memory, {}
        mapped: dict[int, Any] = {}
        leaves = self._leaves(batch, armed.recon)
        for path, leaf in leaves:
            if id(leaf) not in mapped:
                # A memory of its own for each leaf: what one remembers is of another's shape and meaning.
                armed.ctx.memory = shared.setdefault(path, {})
                mapped[id(leaf)] = armed.map(leaf)
            # One tensor under two names, as targets are in forecasting, is broken alike under both.
            changed[path] = mapped[id(leaf)]
        armed.ctx.memory = shared
        with armed.putting_in():
            return tree.replace(batch, changed)

    def _leaves(self, batch: Any, recon: Recon) -> list[tuple[str, torch.Tensor]]:
        wanted = self._paths(recon)
        return [(path, leaf) for path, leaf in tree.tensors(batch) if path in wanted and self._fits(leaf)]

    def _paths(self, recon: Recon) -> tuple[str, ...]:
        return recon.contents if self.role == "inputs" else recon.labels

    def _fits(self, leaf: torch.Tensor) -> bool:
        if leaf.is_complex() or leaf.is_nested or leaf.layout is not torch.strided:
            return False
        return self.kind == "any" or leaf.is_floating_point() == (self.kind == "floating")

    def inapplicable(self, recon: Recon) -> str:
        if not self.role:
            return ""
        paths = self._paths(recon)
        if not paths:
            return recon.unlabelled if self.role == "labels" else "no part of the batch is used as inputs"
        # Complex and sparse tensors, which injectors are spared, have no lowest value either.
        kinds = {leaf.kind for path in paths if (leaf := recon.leaves.get(path)) and leaf.low is not None}
        if not kinds or (self.kind != "any" and self.kind not in kinds):
            return f"the {self.role} hold no {self.kind.replace('any', 'ordinary')} tensor"
        return ""


@dataclass
class Stream:
    """The batches of one epoch as a fetcher takes them: the iterator, and the number that it was promised (or None)."""

    iterator: Iterator[Any]
    length: int | None


def _onward(iterator: Iterator[Any]) -> Iterator[Any]:
    """The same items; unlike Lightning's own iterators it does not begin anew when it is asked for an iterator."""
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield item


@dataclass(frozen=True)
class Loader(Seam):
    """How batches arrive. The injector maps Stream -> Stream once an epoch; it yields (batch, index, loader index)."""

    leaves = frozenset({"backward", "metrics"})
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
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
            patches.wrap(namespaces.part(namespace, "loops.fetchers:_DataFetcher"), "__iter__", make)
