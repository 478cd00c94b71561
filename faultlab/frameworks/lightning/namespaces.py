"""The Lightning packages in this process. ``lightning.pytorch`` and ``pytorch_lightning`` are two sets of classes."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

from faultlab.core.packages import NAMESPACES

_FABRIC = {"pytorch_lightning": "lightning_fabric", "lightning.pytorch": "lightning.fabric"}


def loaded() -> list[str]:
    """The namespaces that have been imported, the one of a target among them."""
    return [name for name in NAMESPACES if name in sys.modules]


def namespace_of(cls: type) -> str:
    """The namespace whose LightningModule or LightningDataModule ``cls`` derives from; raises TypeError without one.

    Found by the base class's identity: users name their own bases ``LightningModule``.
    """
    for name in loaded():
        package = sys.modules[name]
        if issubclass(cls, (package.LightningModule, package.LightningDataModule)):
            return name
    raise TypeError(f"{cls.__module__}.{cls.__qualname__} is no LightningModule of {' or '.join(NAMESPACES)}")


def base_module(cls: type) -> type:
    """Lightning's own LightningModule that ``cls`` derives from."""
    base: type = sys.modules[namespace_of(cls)].LightningModule
    return base


def base_callback(cls: type) -> type | None:
    """Lightning's own Callback that ``cls`` derives from; None for a duck-typed guard."""
    callbacks = (sys.modules[name].Callback for name in loaded())
    return next((base for base in callbacks if issubclass(cls, base)), None)


def is_lightnings(cls: type) -> bool:
    """Whether a class is one of Lightning's own packages."""
    return cls.__module__.partition(".")[0] in ("lightning", "pytorch_lightning")


def any_callback() -> type:
    """A Callback of Lightning's, for the names of its hooks."""
    callback: type = sys.modules[loaded()[0]].Callback
    return callback


def part(namespace: str, path: str) -> Any:
    """An attribute of a Lightning submodule, such as ``loops.fetchers:_PrefetchDataFetcher``."""
    module_path, _, attribute = path.partition(":")
    module: ModuleType = importlib.import_module(f"{namespace}.{module_path}")
    return getattr(module, attribute)


def overrides(cls: type, hook: str) -> bool:
    """Whether the user's class, or a base of the user's, defines the hook."""
    base = base_module(cls)
    return getattr(cls, hook, None) is not None and getattr(cls, hook) is not getattr(base, hook, None)


def find_plugins_once() -> None:
    """Has Trainers of this process, and of its copies, given the callbacks of installed packages as they are now.

    Each would look for them anew, in the metadata of everything that is installed.
    """
    found = metadata.entry_points()
    for name in loaded():
        registry = sys.modules.get(f"{_FABRIC[name]}.utilities.registry")
        if hasattr(registry, "entry_points"):
            registry.entry_points = found.select  # type: ignore[union-attr]
