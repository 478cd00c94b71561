"""The Lightning packages in this process. ``lightning.pytorch`` and ``pytorch_lightning`` have separate classes."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from typing import Any

from faultlab.core.packages import NAMESPACES, TOPS
from faultlab.frameworks.lightning import private_api


def loaded() -> list[str]:
    """Return the namespaces that have been imported, including the target's."""
    return [name for name in NAMESPACES if name in sys.modules]


def namespace_of(cls: type) -> str:
    """Return the namespace whose LightningModule or LightningDataModule ``cls`` derives from; else raise TypeError.

    Compared by the base class's identity: users name their own bases ``LightningModule``.
    """
    for name in loaded():
        package = sys.modules[name]
        if issubclass(cls, (package.LightningModule, package.LightningDataModule)):
            return name
    raise TypeError(f"{cls.__module__}.{cls.__qualname__} is not a LightningModule of {' or '.join(NAMESPACES)}")


def base_module(cls: type) -> type:
    """Return Lightning's own LightningModule that ``cls`` derives from."""
    base: type = sys.modules[namespace_of(cls)].LightningModule
    return base


def base_callback(cls: type) -> type | None:
    """Return Lightning's own Callback that ``cls`` derives from; None for a duck-typed guard."""
    callbacks = (sys.modules[name].Callback for name in loaded())
    return next((base for base in callbacks if issubclass(cls, base)), None)


def is_lightnings(cls: type) -> bool:
    """Return True if a class belongs to Lightning's own packages."""
    return cls.__module__.partition(".")[0] in TOPS


def averages(callback: Any) -> bool:
    """Return True for Lightning's callback that averages the weights, which keeps both sets in its checkpoints."""
    return any(cls.__name__ == "WeightAveraging" and is_lightnings(cls) for cls in type(callback).__mro__)


def any_callback() -> type:
    """Return one of Lightning's Callback classes, for the names of its hooks."""
    callback: type = sys.modules[loaded()[0]].Callback
    return callback


def sharding_strategy(namespace: str) -> Any:
    """Return the strategy of FSDP2 and tensor parallelism; None if this Lightning has none."""
    return getattr(importlib.import_module(f"{namespace}.strategies"), "ModelParallelStrategy", None)


def overrides(cls: type, hook: str) -> bool:
    """Return True if the user's class, or a base class of the user's, defines the hook."""
    base = base_module(cls)
    return getattr(cls, hook, None) is not None and getattr(cls, hook) is not getattr(base, hook, None)


def find_plugins_once() -> None:
    """Cache the callbacks of installed packages for the Trainers of this process and its copies.

    Otherwise each would search the metadata of everything that is installed.
    """
    found = metadata.entry_points()
    for name in loaded():
        registry = sys.modules.get(f"{private_api.fabric(name)}.utilities.registry")
        if hasattr(registry, "entry_points"):
            registry.entry_points = found.select  # type: ignore[union-attr]
