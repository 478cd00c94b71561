"""What the module and the Trainer are built with."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faultlab.core.class_paths import found_class
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.seams.callbacks import settings_of
from faultlab.injection import tree
from faultlab.injection.seam import Seam, Site
from faultlab.injection.watchers import release

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed


@dataclass(frozen=True)
class ModuleArguments(Seam):
    """The arguments that the module is constructed with. The injector maps dict -> dict, defaults included."""

    attach_at = "construct"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        cls = found_class(armed.recon.module)
        if cls is not None:
            patches.wrap(cls, "__init__", _mapping(armed))

    def inapplicable(self, recon: Recon) -> str:
        if recon.takes is None:
            return "the module's class can't be found by its name"
        if not recon.takes:
            return "the module's class takes no arguments"
        return "" if recon.arguments else "no argument of the module is known to be a number or a word"


@dataclass(frozen=True)
class TrainerArguments(Seam):
    """The arguments that the Trainer is constructed with. The injector maps dict -> dict; only what is given is in it.

    ``callbacks`` is always there, a list. A callback in it may be changed in place; the harness no longer watches it
    then, since what it does is the failure.
    """

    attach_at = "construct"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        for namespace in namespaces.loaded():
            trainer = sys.modules[namespace].Trainer
            patches.wrap(trainer, "__init__", _mapping(armed, given={"callbacks": []}))


def arguments_of(call: inspect.BoundArguments) -> dict[str, Any]:
    """The arguments of a call by name, those of ``**kwargs`` among them; positional-only and ``*args`` left out."""
    named: dict[str, Any] = {}
    for name, parameter in call.signature.parameters.items():
        if name in call.arguments and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            named[name] = call.arguments[name]
        elif name in call.arguments and parameter.kind is parameter.VAR_KEYWORD:
            named.update(call.arguments[name])
    return named


def in_precision(precision: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a Trainer with these arguments needs for another precision: Lightning takes no plugin for one besides."""
    given = arguments.get("plugins")
    plugins = given if isinstance(given, list) else [] if given is None else [given]
    others = [plugin for plugin in plugins if not any(cls.__name__ == "Precision" for cls in type(plugin).__mro__)]
    return {"precision": precision, **({"plugins": others} if len(others) < len(plugins) else {})}


def _mapping(armed: Armed, given: dict[str, Any] | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def make(init: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(init)

        def mapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not armed.due("train"):
                return init(self, *args, **kwargs)
            call = signature.bind(self, *args, **kwargs)
            if given is None:
                call.apply_defaults()
            before = arguments_of(call)
            before.pop(next(iter(signature.parameters)))
            for name, default in (given or {}).items():
                value = before.get(name)
                before[name] = default if value is None else value if isinstance(value, list) else [value]
            callbacks = before["callbacks"] if given else []
            settings = [settings_of(callback) for callback in callbacks]
            after = armed.map(before, lambda _: [settings_of(callback) for callback in callbacks])
            for callback, found in zip(callbacks, settings):
                if not tree.identical(found, settings_of(callback)):
                    release(callback)
            if after is before:
                return init(self, *args, **kwargs)
            return init(self, *call.arguments.get("args", ()), **after)

        return mapped

    return make
