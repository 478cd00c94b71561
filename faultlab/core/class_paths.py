"""Conversion between classes and their dotted paths."""

from __future__ import annotations

import sys
from collections.abc import Iterator


def path_of(cls: type) -> str:
    """Return the dotted path that names a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def found_class(path: str) -> type | None:
    """Return the imported class with that dotted path; None for a class defined inside a function."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def subclasses(base: type) -> Iterator[type]:
    """Yield every existing class derived from the base class."""
    found: list[type] = base.__subclasses__()
    for cls in found:
        yield cls
        yield from subclasses(cls)
