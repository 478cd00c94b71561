"""Several modules that one loop trains, as the one module that guards look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


class Several(nn.Module):
    """Several modules as parts of one, for guards that look at all layers and weights. It is never called.

    Args:
        modules: The modules by name. Those without a name are called after their classes.
        automatic: Whether they minimize one loss together. Otherwise their losses may work against each other, as
            under Lightning's manual optimization.
    """

    def __init__(self, modules: Sequence[Any] | Mapping[str, Any], automatic: bool) -> None:
        super().__init__()
        named = modules if isinstance(modules, Mapping) else _named(modules)
        for name, module in named.items():
            # Not every text can name a part.
            part = str(name).replace(".", "_") or "model"
            while hasattr(self, part):
                part += "_"
            self.add_module(part, module)
        self.automatic_optimization = automatic

    @property
    def training(self) -> bool:
        """True if one of them is in training mode."""
        return any(part.training for part in self.children())

    @training.setter
    def training(self, mode: bool) -> None:
        """Do nothing: each of them has its own mode."""


def _named(modules: Sequence[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for module in modules:
        name = type(module).__name__.lower()
        number = sum(known.rstrip("0123456789") == name for known in named)
        named[f"{name}{number + 1}" if number else name] = module
    return named
