"""The names that modules have for objects that they imported."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

_MOST = 64
_OWN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_INSTALLED = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python", _OWN)


def any_module(module: ModuleType) -> bool:
    """Search every module."""
    return True


def _is_installed(module: ModuleType) -> bool:
    file = vars(module).get("__file__")
    return not isinstance(file, str) or any(part in file for part in _INSTALLED)


@dataclass
class _Names:
    """The names found in each module, by the module's address, with its number of names then; -1 to search it again."""

    # Kept alive, since their addresses are looked up.
    values: list[Any]
    of: dict[int, tuple[weakref.ref[ModuleType], int, tuple[str, ...]]] = field(default_factory=dict)


_FOUND: dict[tuple[frozenset[int], Callable[[ModuleType], bool]], _Names] = {}


def references(
    values: Collection[Any], looks_at: Callable[[ModuleType], bool] = any_module
) -> Iterator[tuple[ModuleType, str, Any]]:
    """Yield each module that has one of the objects, with its name there and the object.

    An installed module, or one of faultlab's, that was searched for the same objects before is searched again only if
    its number of names has changed: in a copy of a process, reading every name of every module copies much of the
    memory. Those of the user, which are few, may also give a name another value.

    Args:
        values: The objects, compared by identity.
        looks_at: Whether a module is searched; a function of a module, since results are kept for it.
    """
    wanted = frozenset(map(id, values))
    if (wanted, looks_at) not in _FOUND and len(_FOUND) >= _MOST:
        del _FOUND[next(iter(_FOUND))]
    found = _FOUND.setdefault((wanted, looks_at), _Names(list(values))).of
    modules: list[Any] = list(sys.modules.values())
    for module in modules:
        if not isinstance(module, ModuleType):
            continue
        known = found.get(id(module))
        if known is None or known[0]() is not module or known[1] != len(vars(module)):
            # Names that are added meanwhile are found the next time.
            size = len(vars(module)) if _is_installed(module) else -1
            at = looks_at(module) and [name for name, value in list(vars(module).items()) if id(value) in wanted]
            known = found[id(module)] = (weakref.ref(module), size, tuple(at or ()))
        for name in known[2]:
            if id(value := vars(module).get(name)) in wanted:
                yield module, name, value
