"""The registry of failure modes with their injectors, which register when their modules are imported.

To read about failure modes without importing their injectors, use `faultlab.catalogue.index`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from faultlab.catalogue.effects import Declared
from faultlab.catalogue.failure_mode import FailureMode, declare
from faultlab.catalogue.index import ENTRY_POINT_GROUP
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.errors import CatalogueError

BUILTIN_PACKAGE = "faultlab.injectors"


@dataclass(frozen=True)
class Registered:
    """A failure mode with its injector."""

    mode: FailureMode
    injector: Callable[..., Any] = field(repr=False)


_REGISTRY: dict[str, Registered] = {}


def failure_mode(
    id: str,
    *,
    seam: InjectionPoint | type[InjectionPoint],
    severity: str,
    effect: Declared,
    cause: tuple[str, ...],
    **metadata: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the injector of a failure mode.

    The injector takes the healthy value, whose type the injection point defines, and a
    `faultlab.injection.armed_fault.Context`, and returns the broken value. Its docstring has the sections that the
    catalogue shows. Every argument here is a literal, a ``Dose`` or an injection point, because the declaration is read
    without being imported.

    Args:
        id: The name of the failure mode, of the form ``family.kebab-name``.
        seam: The injection point, or its class.
        severity: ``critical``, ``major`` or ``minor``.
        effect: What frameworks do about it on an ordinary model: ``raises``, ``warns`` or ``silent``; or a mapping with
            exceptions by framework and version range.
        cause: Lowercase beginnings of words; a message that names the cause contains at least one of them.
        metadata: Other fields of `faultlab.catalogue.failure_mode.FailureMode`.

    Returns:
        A decorator that returns the function unchanged. It raises CatalogueError if the declaration is invalid or
        another declaration has the same id.
    """

    def register(injector: Callable[..., Any]) -> Callable[..., Any]:
        mode = declare(
            id=id,
            point=seam() if isinstance(seam, type) else seam,
            severity=severity,
            effect=effect,
            cause=cause,
            docstring=injector.__doc__,
            file=inspect.getsourcefile(injector) or "",
            line=injector.__code__.co_firstlineno,
            **metadata,
        )
        known = _REGISTRY.get(id)
        if known is not None and (known.mode.file, known.mode.line) != (mode.file, mode.line):
            places = f"{known.mode.file}:{known.mode.line} and {mode.file}:{mode.line}"
            raise CatalogueError(f"{id} is declared twice: in {places}")
        _REGISTRY[id] = Registered(mode, injector)
        return injector

    return register


def load_own() -> None:
    """Import faultlab's own injectors. Imports torch."""
    package = importlib.import_module(BUILTIN_PACKAGE)
    for info in pkgutil.iter_modules(package.__path__, BUILTIN_PACKAGE + "."):
        importlib.import_module(info.name)


@lru_cache(maxsize=1)
def load() -> Mapping[str, Registered]:
    """Import every injector, faultlab's and those of third parties, and return them by id. Imports torch."""
    load_own()
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        entry.load()
    return dict(sorted(_REGISTRY.items()))
