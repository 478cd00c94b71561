"""The user's module, data and Trainer, built again from a scenario any number of times."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from faultlab.config.variations import Variation, varied
from faultlab.core.alert import safe_text
from faultlab.core.user_code import UserCode
from faultlab.errors import TargetError
from faultlab.frameworks import registry
from faultlab.frameworks.base import Framework
from faultlab.frameworks.lightning import namespaces, ranks
from faultlab.injection import compilation
from faultlab.injection.mutant_activation import Executions

SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
_DEFAULTS = {"accelerator": "cpu", "devices": 1, **SILENT}
PREPARE = "__faultlab_prepare__"


@dataclass
class Built:
    """One fresh target: ``fit`` has the keyword arguments of ``Trainer.fit``, ``guards`` the guards by name.

    ``ranks`` is the number of processes that the scenario's training has.
    """

    module: Any
    trainer_class: type
    trainer_arguments: dict[str, Any]
    fit: dict[str, Any]
    guards: dict[str, Any] = field(default_factory=dict)
    namespace: ModuleType = field(default=sys)
    ranks: int = 1


class Target:
    """A scenario's target. Creating it imports the user's code; ``build`` calls it."""

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        self._scenario = scenario
        # Set if the imported code has source mutants.
        self.executions: Executions | None = None
        # The packages of the objects that its factories returned.
        self._made_of: set[str] = set()
        for where in (("module",), ("data",), ("build",), ("trainer",)):
            self._import(where, scenario.get(where[0]))
            self._prepare(where, scenario.get(where[0]))
        for index, guard in enumerate(scenario.get("guards", [])):
            self._import(("guards", index), guard)

    def __repr__(self) -> str:
        return f"Target({self._scenario!r})"

    @property
    def framework(self) -> Framework:
        """Lightning."""
        return registry.named("lightning")

    @property
    def code(self) -> UserCode:
        """The user's own code: the packages that the scenario names, and those of its factories' results."""
        packages = {*_packages(self._scenario), *self._made_of, "__main__"}
        return UserCode(frozenset(packages), tuple(self._scenario.get("path", ())))

    @property
    def flags(self) -> dict[str, Any]:
        """The Trainer flags that count as guards."""
        flags: dict[str, Any] = {}
        for guard in self._scenario.get("guards", []):
            flags.update(guard.get("trainer_flag") or {})
        return flags

    def build(self, root: str, with_flags: bool = True, variation: Variation | None = None) -> Built:
        """Return a fresh module, data, guards and Trainer arguments; ``root`` is where the run may write.

        Raise NotVariedError if the scenario has nothing that the variation changes.
        """
        ranks.begin()
        if variation is not None:
            return Target(varied(self._scenario, variation)).build(root, with_flags)
        extra: dict[str, Any] = {}
        if self._scenario.get("build"):
            made = self._make(("build",), self._scenario["build"])
            if not isinstance(made, tuple) or len(made) not in (2, 3):
                message = "build must return (module, data) or (module, data, trainer_arguments)"
                raise TargetError(("build",), message, "If the module has its own loaders, return None as the data.")
            module, data, extra = (*made, {})[:3]
            module = compilation.written(module)
        else:
            module = self.make_module()
            data = self._make(("data",), self._scenario["data"]) if self._scenario.get("data") else None
        where = "build" if self._scenario.get("build") else "module"
        try:
            namespace = sys.modules[namespaces.namespace_of(type(module))]
        except TypeError as error:
            raise TargetError((where,), str(error), "Name a LightningModule, or a factory that returns one.") from None
        if not compilation.can_lift() and compilation.is_compiled(module):
            message = "a module from torch.compile can only be broken with torch 2.6 or later"
            raise TargetError((where,), message, "Skip the compilation when faultlab builds it, or update torch.")
        self._made_of.update(type(part).__module__.partition(".")[0] for part in (module, data))
        guards = {**extra.pop("guards", {}), **self._guards()}
        trainer_class, arguments = self._trainer(namespace, dict(extra), with_flags)
        arguments["callbacks"] = [*_as_list(arguments.get("callbacks")), *guards.values()]
        if any(isinstance(callback, namespace.callbacks.Checkpoint) for callback in arguments["callbacks"]):
            arguments["enable_checkpointing"] = True
        arguments["default_root_dir"] = root
        several = int(self._scenario.get("ranks", 1))
        return Built(module, trainer_class, arguments, _fit_arguments(data, namespace), guards, namespace, several)

    def make_module(self) -> Any:
        """Return only a fresh module, if the scenario names one; raise TargetError if it can't be called so."""
        return compilation.written(self._make(("module",), self._scenario["module"]))

    def _trainer(self, namespace: ModuleType, extra: dict[str, Any], with_flags: bool) -> tuple[type, dict[str, Any]]:
        trainer_class = extra.pop("trainer_class", namespace.Trainer)
        own = dict(self._scenario.get("trainer") or {})
        where: tuple[str | int, ...] = ("trainer",)
        if "class_path" in own:
            trainer_class = self._import(("trainer",), own)
            own = dict(own.get("init_args") or {})
            where = ("trainer", "init_args")
        _check_names(trainer_class, {key: (*where, key) for key in own})
        for index, guard in enumerate(self._scenario.get("guards", [])):
            flags = guard.get("trainer_flag") or {}
            _check_names(trainer_class, {key: ("guards", index, "trainer_flag", key) for key in flags})
        own = {key: self._made(("trainer", key), value) for key, value in own.items()}
        return trainer_class, {**_DEFAULTS, **extra, **own, **(self.flags if with_flags else {})}

    def _guards(self) -> dict[str, Any]:
        guards: dict[str, Any] = {}
        for index, entry in enumerate(self._scenario.get("guards", [])):
            if entry.get("class_path"):
                guard = self._make(("guards", index), entry)
                name = entry.get("name") or type(guard).__name__
                guards[name if name not in guards else f"{name}-{index}"] = guard
        return guards

    def _import(self, where: tuple[str | int, ...], entry: Any) -> Any:
        if not isinstance(entry, Mapping) or not entry.get("class_path"):
            return None
        path = entry["class_path"]
        module_path, _, name = path.rpartition(".")
        at = (*where, "class_path")
        try:
            module = importlib.import_module(module_path)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if module_path == missing or module_path.startswith(missing + "."):
                remedy = "Run from the folder that holds the package, or install it."
            else:
                remedy = f"{module_path} imports it; install it."
            raise TargetError(at, f"can't import {module_path!r}: no module named {missing!r}", remedy) from None
        except Exception as error:  # a user's module may do anything on import
            message = f"importing {module_path!r} raised {type(error).__name__}: {safe_text(error)}"
            raise TargetError(at, message, "Make it importable first.") from error
        if not hasattr(module, name):
            from faultlab.catalogue.failure_mode import nearest

            raise TargetError(at, f"{module_path!r} has no {name!r}", nearest(name, vars(module)))
        found = getattr(module, name)
        if not callable(found):
            raise TargetError(at, f"{path!r} is not a class or function")
        return found

    def _prepare(self, where: tuple[str | int, ...], entry: Any) -> None:
        """Let factories do once what all builds share, such as running a script so that its classes are known."""
        if not isinstance(entry, Mapping) or "class_path" not in entry:
            return
        arguments = entry.get("init_args") or {}
        if (prepare := getattr(self._import(where, entry), PREPARE, None)) is not None:
            prepare(where, **arguments)
        for key, value in arguments.items():
            self._prepare((*where, "init_args", key), value)

    def _make(self, where: tuple[str | int, ...], entry: Mapping[str, Any]) -> Any:
        factory = self._import(where, entry)
        raw = dict(entry.get("init_args") or {})
        arguments = {key: self._made((*where, "init_args", key), value) for key, value in raw.items()}
        try:
            inspect.signature(factory).bind(**arguments)
        except TypeError as error:
            at = (*where, "init_args") if raw else (*where, "class_path")
            raise TargetError(at, f"{entry['class_path']}: {error}", "List its arguments under init_args.") from None
        except ValueError:  # no signature to check, as with some C classes
            pass
        return factory(**arguments)

    def _made(self, where: tuple[str | int, ...], value: Any) -> Any:
        if isinstance(value, Mapping) and "class_path" in value:
            return self._make(where, value)
        if isinstance(value, list):
            return [self._made((*where, index), item) for index, item in enumerate(value)]
        return value


def _check_names(factory: Any, names: Mapping[str, tuple[str | int, ...]]) -> None:
    """Raise TargetError for the first argument that the factory does not take; each name has its place in the file."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # no signature to check, as with some C classes
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name, where in names.items():
        if name not in parameters:
            from faultlab.catalogue.failure_mode import nearest

            raise TargetError(where, f"{factory.__name__} has no argument {name!r}", nearest(name, parameters))


def _packages(entry: Any) -> Iterator[str]:
    """Yield the top-level packages of every class path in a scenario."""
    if isinstance(entry, Mapping):
        if isinstance(entry.get("class_path"), str):
            yield entry["class_path"].partition(".")[0]
        for value in entry.values():
            yield from _packages(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from _packages(value)


def _fit_arguments(data: Any, namespace: ModuleType) -> dict[str, Any]:
    # Users whose module has its own loaders write either.
    if data is None or (isinstance(data, tuple) and not data):
        return {}
    if isinstance(data, namespace.LightningDataModule):
        return {"datamodule": data}
    if isinstance(data, tuple) and len(data) == 2:
        return {"train_dataloaders": data[0], "val_dataloaders": data[1]}
    return {"train_dataloaders": data}


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
