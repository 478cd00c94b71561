"""The Callback class that guards derive from: that of every Lightning package that this process has imported.

``lightning.pytorch`` and ``pytorch_lightning`` have separate classes, and importing either takes seconds. A guard
derived from both is accepted by both Trainers.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from faultlab.guards.support.packages import NAMESPACES


def _callback_class() -> type:
    found = [name for name in NAMESPACES if name in sys.modules] or [_installed()]
    bases = tuple(importlib.import_module(name).Callback for name in found)
    return bases[0] if len(bases) == 1 else type("Callback", bases, {})


def _installed() -> str:
    for name in NAMESPACES:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            return name
    raise ModuleNotFoundError(
        "no Lightning package is installed, and guards are Lightning callbacks. Install pytorch-lightning or lightning."
    )


if TYPE_CHECKING:
    from pytorch_lightning import Callback as Callback
else:
    Callback = _callback_class()

HOOKS: tuple[str, ...] = tuple(
    name for name in dir(Callback) if name.startswith("on_") or name in ("setup", "teardown")
)
"""The names of the hooks that a Trainer calls."""


def overrides(callback: Any, hook: str) -> bool:
    """Return whether a callback implements a hook itself."""
    return _overrides(type(callback), hook)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _overrides(kind: type, hook: str) -> bool:
    return getattr(kind, hook, None) is not getattr(Callback, hook, None)
