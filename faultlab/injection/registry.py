"""The failure modes with the code that makes them happen, as their modules register them when they are imported.

Whoever only reads about failure modes uses `faultlab.catalogue.index` instead, which imports none of them.
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

from faultlab.catalogue.failure_mode import FailureMode, declare
from faultlab.catalogue.index import ENTRY_POINT_GROUP
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.errors import CatalogueError

BUILTIN_PACKAGE = "faultlab.injectors"


@dataclass(frozen=True)
class Registered:
    """A failure mode together with the code that makes it happen."""

    mode: FailureMode
    injector: Callable[..., Any] = field(repr=False)


_REGISTRY: dict[str, Registered] = {}


def failure_mode(
    id: str,
    *,
    seam: InjectionPoint | type[InjectionPoint],
    severity: str,
    effect: str,
    cause: tuple[str, ...],
    **metadata: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated function as the injector of a failure mode; see FailureMode for the arguments.

    Every argument is a literal, a ``Dose`` or an injection point, so that the declaration can be read without being
    imported.
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


@lru_cache(maxsize=1)
def load() -> Mapping[str, Registered]:
    """Imports every injector, built in and of third parties, and returns them by id. Imports torch."""
    package = importlib.import_module(BUILTIN_PACKAGE)
    for info in pkgutil.iter_modules(package.__path__, BUILTIN_PACKAGE + "."):
        importlib.import_module(info.name)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        entry.load()
    return dict(sorted(_REGISTRY.items()))
