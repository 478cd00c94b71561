"""Where a loop takes its batches from: torch's loader, or one that wraps it.

Accelerate's loaders ask torch's for the next batch before they hand on the current one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

from faultlab.core.patching import Patches

Iterate = Callable[[Any], Any]
_WRAPPING = {"accelerate.data_loader": ("DataLoaderShard", "DataLoaderDispatcher")}
"""Classes of loaders, by module, that iterate over the loader in their attribute ``base_dataloader``."""
Replacing = Callable[[Iterate], Iterate]
"""Receives the ``__iter__`` of a loader's class and returns the function to call instead."""


def replace(patches: Patches, iterating: Replacing, handing_on: Replacing) -> None:
    """Replace how loaders are iterated over.

    Args:
        patches: Undoes it.
        iterating: For torch's loaders, also those that others wrap.
        handing_on: For the loaders that wrap them, which are iterated over first.
    """
    known: set[type] = set()

    def find() -> None:
        for module, names in _WRAPPING.items():
            for cls in (getattr(sys.modules[module], name, None) for name in names if module in sys.modules):
                if cls is not None and cls not in known:
                    known.add(cls)
                    patches.wrap(cls, "__iter__", handing_on)

    def constructing(construct: Callable[..., None]) -> Callable[..., None]:
        def constructed(loader: DataLoader[Any], *args: Any, **kwargs: Any) -> None:
            # The module may be imported by the loop itself.
            find()
            construct(loader, *args, **kwargs)

        return constructed

    patches.wrap(DataLoader, "__iter__", iterating)
    patches.wrap(DataLoader, "__init__", constructing)
    find()


def inner(loader: Any) -> DataLoader[Any]:
    """Return torch's own loader, which this one wraps."""
    found: DataLoader[Any] = loader.base_dataloader
    return found
