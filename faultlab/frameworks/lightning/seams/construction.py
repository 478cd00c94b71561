"""The arguments of the module's and the Trainer's constructors."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import ModuleArguments, TrainerArguments
from faultlab.core.class_paths import found_class
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces
from faultlab.frameworks.lightning.seams.callbacks import settings_of
from faultlab.injection import tree
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.watchers import release

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(ModuleArguments, framework=NAME)
def module_arguments(point: ModuleArguments, patches: Patches, armed: Armed, site: Site) -> None:
    cls = found_class(armed.profile.module)
    if cls is not None:
        patches.wrap(cls, "__init__", _mapping(armed))


@hooks(TrainerArguments, framework=NAME)
def trainer_arguments(point: TrainerArguments, patches: Patches, armed: Armed, site: Site) -> None:
    for namespace in namespaces.loaded():
        trainer = sys.modules[namespace].Trainer
        patches.wrap(trainer, "__init__", _mapping(armed, given={"callbacks": []}))


def arguments_of(call: inspect.BoundArguments) -> dict[str, Any]:
    """Return a call's arguments by name, including ``**kwargs``, without positional-only ones and ``*args``."""
    named: dict[str, Any] = {}
    for name, parameter in call.signature.parameters.items():
        if name in call.arguments and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            named[name] = call.arguments[name]
        elif name in call.arguments and parameter.kind is parameter.VAR_KEYWORD:
            named.update(call.arguments[name])
    return named


def in_precision(precision: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Trainer's arguments for another precision: Lightning accepts no precision plugin beside it."""
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
            if given and after.get("precision") != before.get("precision"):
                after = {**after, **in_precision(after["precision"], before)}
            return init(self, *call.arguments.get("args", ()), **after)

        return mapped

    return make
