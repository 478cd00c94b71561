"""The names that modules have for objects that they imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Any


def references(
    values: Collection[Any], looks_at: Callable[[ModuleType], bool] = lambda module: True
) -> Iterator[tuple[ModuleType, str, Any]]:
    """Yield each module that has one of the objects, with its name there and the object.

    Args:
        values: The objects, compared by identity.
        looks_at: Whether a module is searched.
    """
    wanted = {id(value) for value in values}
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and looks_at(module):
            for name, value in list(vars(module).items()):
                if id(value) in wanted:
                    yield module, name, value
