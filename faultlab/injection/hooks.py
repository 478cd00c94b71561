"""Hooks attach a framework to the injection points. They do all patching; an injector patches nothing.

A hook registers itself where it is defined::

    @hooks(StepOutput, framework="lightning")
    def step_output(point: StepOutput, patches: Patches, armed: Armed, site: Site) -> None: ...

Without a framework it belongs to torch, and serves every framework that has no hook of its own for the point.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.core import framework_names
from faultlab.core.patching import Patches
from faultlab.errors import CatalogueError
from faultlab.injection import compilation

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed
    from faultlab.injection.clock import Clock

ENTRY_POINT_GROUP = "faultlab.hooks"
_SHARED = "any"
_SHARED_PACKAGE = "faultlab.frameworks.torch"


@dataclass
class Site:
    """The target of a hook: the user's class, and the instance if it is already known.

    If other code builds the module, the instance becomes known later, and it may be another one each time.

    Attributes:
        cls: The user's class.
        module: The instance; None if it is not known yet.
    """

    cls: type
    module: Any = None

    def owner(self, name: str) -> Any:
        """Return the instance if the user set the attribute on it, which would hide the class's; else the class.

        Args:
            name: The attribute's name.
        """
        return self.module if self.module is not None and name in vars(self.module) else self.cls

    def present(self, clock: Clock) -> Any:
        """Return the module in use: the training's, which after resuming is not the one that the hook was attached to.

        Args:
            clock: The clock that follows the training.
        """
        inside = clock.module
        return self.module if inside is None else inside

    def first_argument(self, name: str) -> int:
        """Return the position of the first argument after ``self`` in a call of the owner's method.

        Args:
            name: The method's name.
        """
        return 1 if self.owner(name) is self.cls else 0


Point = TypeVar("Point", bound=InjectionPoint)
Hook = Callable[[Any, Patches, "Armed", Site], None]

_HOOKS: dict[tuple[str, type[InjectionPoint]], Hook] = {}


def hooks(
    point: type[Point], framework: str = _SHARED
) -> Callable[
    [Callable[[Point, Patches, Armed, Site], None]],
    Callable[[Point, Patches, Armed, Site], None],
]:
    """Register the decorated function as the hook of an injection point.

    The hook is called with the point and its arguments, `Patches`, the `Armed` fault and the `Site`. It attaches only
    through ``patches``, and passes the value through ``armed``.

    Args:
        point: The class of the injection point.
        framework: The framework that the hook serves; ``torch`` for all of them.

    Raises:
        CatalogueError: Another hook is registered for the point and the framework.
    """

    def register(
        hook: Callable[[Point, Patches, Armed, Site], None],
    ) -> Callable[[Point, Patches, Armed, Site], None]:
        known = _HOOKS.setdefault((framework, point), hook)
        if (known.__module__, known.__qualname__) != (hook.__module__, hook.__qualname__):
            places = f"{known.__module__}.{known.__qualname__} and {hook.__module__}.{hook.__qualname__}"
            raise CatalogueError(f"{point.__name__} has two hooks for {framework}: {places}")
        return hook

    return register


@cache
def load(framework: str) -> None:
    """Import the hooks that serve a framework, faultlab's and those of third parties. Imports torch."""
    # The framework of a third party adds its hooks by entry points.
    own = framework_names.BUILT_IN.get(framework, "").rpartition(".")[0]
    for package in (_SHARED_PACKAGE, own):
        if package:
            seams = importlib.import_module(f"{package}.seams")
            for info in pkgutil.iter_modules(seams.__path__, f"{seams.__name__}."):
                importlib.import_module(info.name)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in (_SHARED, framework):
            entry.load()


def offered(framework: str) -> tuple[str, ...]:
    """Return the names of the injection points that a framework has a hook for, sorted."""
    load(framework)
    return tuple(sorted({point.__name__ for serves, point in _HOOKS if serves in (framework, _SHARED)}))


def install(armed: Armed, patches: Patches, site: Site) -> None:
    """Attach the fault through ``patches``; raise CatalogueError if the target's framework has no hook for it."""
    framework, point = armed.profile.framework, armed.mode.point
    load(framework)
    candidates = (_HOOKS.get((serves, kin)) for kin in point.kin for serves in (framework, _SHARED))
    hook = next(filter(None, candidates), None)
    if hook is None:
        raise CatalogueError(f"{armed.mode.id} can't be attached: {framework} has no hook for {point.name}")
    hook(point, patches, armed, site)


@contextmanager
def attach(armed: Armed, site: Site) -> Iterator[None]:
    """Attach the fault inside the context and remove it without trace afterwards."""
    with compilation.lifted(), Patches() as patches:
        install(armed, patches, site)
        yield
