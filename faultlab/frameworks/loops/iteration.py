"""Where a loop takes its batches from a loader: torch's own, or one that wraps it and fetches batches ahead.

Accelerate's loaders ask for the next batch before they hand on the current one. A step begins as a batch is handed on,
so these are followed instead of the loader inside them.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

from faultlab.core.patching import Patches

Iterate = Callable[[Any], Any]
_WRAPPING = {"accelerate.data_loader": ("DataLoaderShard", "DataLoaderDispatcher")}
"""Classes of loaders, by module, that iterate over the loader in their attribute ``base_dataloader``."""


def replace(patches: Patches, iterating: Callable[[Iterate], Iterate]) -> None:
    """Replace how loaders are iterated over.

    Args:
        patches: Undoes it.
        iterating: Receives the ``__iter__`` of a loader's class and returns the function to call instead.
    """
    wrapped: weakref.WeakSet[DataLoader[Any]] = weakref.WeakSet()
    known: set[type] = set()

    def of_torch(iterate: Iterate) -> Iterate:
        replacement = iterating(iterate)
        return lambda loader: iterate(loader) if loader in wrapped else replacement(loader)

    def of_wrapper(iterate: Iterate) -> Iterate:
        def genuine(loader: Any) -> Any:
            wrapped.add(loader.base_dataloader)
            return iterate(loader)

        return iterating(genuine)

    def find() -> None:
        for module, names in _WRAPPING.items():
            for cls in (getattr(sys.modules[module], name, None) for name in names if module in sys.modules):
                if cls is not None and cls not in known:
                    known.add(cls)
                    patches.wrap(cls, "__iter__", of_wrapper)

    def constructing(construct: Callable[..., None]) -> Callable[..., None]:
        def constructed(loader: DataLoader[Any], *args: Any, **kwargs: Any) -> None:
            # The module may be imported by the loop itself.
            find()
            construct(loader, *args, **kwargs)

        return constructed

    patches.wrap(DataLoader, "__iter__", of_torch)
    patches.wrap(DataLoader, "__init__", constructing)
    find()


def inner(loader: Any) -> DataLoader[Any]:
    """Return torch's own loader, which one of another class may wrap."""
    found: DataLoader[Any] = vars(loader).get("base_dataloader", loader)
    return found


def with_inner(loader: Any, changed: DataLoader[Any]) -> Any:
    """Return the loader with another one inside it; the other one itself if nothing wraps it."""
    if "base_dataloader" not in vars(loader):
        return changed
    loader.base_dataloader = changed
    return loader
