"""The items of a dataset, as torch's fetchers get them for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data._utils import fetch

from faultlab.catalogue.injection_points import Sample
from faultlab.core.asking import asked
from faultlab.core.patching import Patches
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.loader_workers import Workers, fork_workers

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed, Turns


@hooks(Sample)
def sample(point: Sample, patches: Patches, armed: Armed, site: Site) -> None:
    fork_workers(patches)
    workers = Workers(armed)

    def make(get: Callable[..., Any]) -> Callable[..., Any]:
        def fetching(fetcher: Any, *args: Any, **kwargs: Any) -> Any:
            purpose = workers.fetch_for(fetcher)
            if purpose == "nothing":
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


class _Items:
    """A dataset as its fetcher sees it; the fault may map each item."""

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
