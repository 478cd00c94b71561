"""Classes by their dotted paths."""

from __future__ import annotations

import sys
from collections.abc import Iterator


def path_of(cls: type) -> str:
    """The dotted path that names a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def found_class(path: str) -> type | None:
    """The class of that dotted path among the imported modules; None for one that was made inside a function."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def subclasses(base: type) -> Iterator[type]:
    """Give every class derived from it that exists by now."""
    found: list[type] = base.__subclasses__()
    for cls in found:
        yield cls
        yield from subclasses(cls)
