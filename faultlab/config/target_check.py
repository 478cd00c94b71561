"""Validation of what a scenario names, from source files: class paths and their arguments, devices and guards.

`faultlab run` does it before anything runs, and `faultlab check` does nothing else; neither imports torch or the user's
code. What the source doesn't show, such as the values that a constructor accepts, only a run can find.
"""

from __future__ import annotations

import ast
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab.catalogue.failure_mode import nearest
from faultlab.config import module_lookup, named_files, several_ranks
from faultlab.config.scenario import Scenario, import_path
from faultlab.config.yaml_source import Key
from faultlab.core import command_words, framework_names, packages
from faultlab.errors import Problem

# Devices of NVIDIA, of AMD, and of Windows' subsystem for Linux.
_GPUS = ("/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")


def check(scenario: Scenario) -> list[Problem]:
    """Return the errors in what a scenario names that its source files show."""
    path = import_path(scenario.file)
    found = [*_class_paths(scenario, path), *_arguments(scenario, path), *_guards(scenario, path)]
    found += _files(scenario, path)
    if scenario.framework == framework_names.DEFAULT:
        found += _trainer(scenario)
    return [*_problems(scenario, found), *refused_ranks(scenario)]


def refused_ranks(scenario: Scenario) -> list[Problem]:
    """Return an error for everything in a scenario's ranks and strategy that can't run on this machine."""
    if scenario.framework == framework_names.DEFAULT:
        return _problems(scenario, _devices(scenario))
    message = several_ranks.too_many(scenario.ranks)
    return _problems(scenario, [(("ranks",), *message)] if message else [])


def require_one_process(scenario: Scenario, option: str) -> None:
    """Raise ScenarioError if an option that works in this process only is given for a training of several ranks."""
    if scenario.processes == 1:
        return
    loop = scenario.framework != framework_names.DEFAULT
    where = ("ranks",) if loop else (*_trainer_arguments(scenario)[0], "devices")
    remedy = f"Leave out {option}, or set `{where[-1]}: 1`{'' if loop else ' and no strategy'} in a copy of the file."
    raise scenario.problem(where, f"{option} can't be used with {scenario.processes} ranks", remedy)


def missing_accelerator(scenario: Scenario) -> list[Problem]:
    """Return an error if the scenario needs a GPU and this machine has none; empty if that is unknown."""
    where, arguments = _trainer_arguments(scenario)
    accelerator = arguments.get("accelerator")
    if accelerator not in ("gpu", "cuda") or has_gpu(str(accelerator)):
        return []
    message = f"accelerator {accelerator!r} is not available: no GPU was found on this machine"
    return scenario.problem((*where, "accelerator"), message, "Set `accelerator: cpu`.").problems


def has_gpu(accelerator: str) -> bool:
    """Return whether this machine may have such an accelerator."""
    if sys.platform == "darwin":
        return accelerator == "gpu" and platform.machine() == "arm64"
    if not sys.platform.startswith("linux"):
        return True
    return os.environ.get("CUDA_VISIBLE_DEVICES") != "" and any(map(os.path.exists, _GPUS))


_Found = tuple[Key, str, str]


def _problems(scenario: Scenario, found: Iterable[_Found]) -> list[Problem]:
    return [
        problem for where, message, remedy in found for problem in scenario.problem(where, message, remedy).problems
    ]


def _named(scenario: Scenario) -> Iterator[tuple[Key, str]]:
    """Yield the class paths that are imported, each with its place."""
    for key in ("module", "data", "build", "train", "evaluate"):
        if (component := getattr(scenario, key)) is not None:
            yield (key, "class_path"), component.class_path
    if scenario.step is not None:
        yield ("step",), scenario.step
    for number, guard in enumerate(scenario.guards):
        if guard.class_path is not None and guard.command is None:
            yield ("guards", number, "class_path"), guard.class_path
    if isinstance(class_path := scenario.trainer.get("class_path"), str) and "." in class_path:
        yield ("trainer", "class_path"), class_path


def _class_paths(scenario: Scenario, path: Sequence[str]) -> Iterator[_Found]:
    for where, class_path in _named(scenario):
        module, _, name = class_path.rpartition(".")
        if module == "__main__":  # of the user's script
            continue
        if missing := module_lookup.missing_module(module, path):
            if where == ("step",):  # a method: the part before its name is a class, not a module
                continue
            remedy = nearest(missing, module_lookup.siblings(missing, path))
            yield where, f"can't import {module!r}: no module named {missing!r}", remedy or _INSTALL
            continue
        source = module_lookup.source(module, path)
        names = module_lookup.names_of(source) if source is not None else None
        submodule = f"{module}.{name}"
        if names is None or name in names or module_lookup.exists(submodule, path):
            continue
        yield where, f"{module!r} has no {name!r}", nearest(name, names) or f"Name a class or function of {module}."


def _files(scenario: Scenario, path: Sequence[str]) -> Iterator[_Found]:
    for key in ("module", "data", "build", "train"):
        if (entry := getattr(scenario, key)) is not None:
            yield from named_files.missing(key, entry.class_path, entry.init_args, path)


def _arguments(scenario: Scenario, path: Sequence[str]) -> Iterator[_Found]:
    if scenario.train is not None and scenario.resume is not None:
        both = scenario.train.model_copy(
            update={"init_args": {**scenario.train.init_args, **scenario.resume.init_args}}
        )
        own = scenario.resume.init_args
        for where, message, remedy in _arguments(scenario.model_copy(update={"train": both, "resume": None}), path):
            if where[0] == "train" and where[-1] in own:
                yield ("resume", *where[1:]), message, remedy
    for where, class_path in _named(scenario):
        if where[0] in ("trainer", "step"):
            continue
        entry = scenario.guards[int(where[1])] if where[0] == "guards" else getattr(scenario, str(where[0]))
        module, _, name = class_path.rpartition(".")
        source = module_lookup.source(module, path)
        parameters = _signature(source, name) if source is not None else None
        if parameters is None:
            continue
        for argument in entry.init_args:
            if argument not in parameters:
                message = f"{class_path}: got an unexpected keyword argument {argument!r}"
                remedy = nearest(argument, parameters) or f"Arguments: {', '.join(parameters) or 'none'}."
                yield (*where[:-1], "init_args", argument), message, remedy
        for argument, required in parameters.items():
            # An evaluation gets the modules that train, and there may be several.
            if required and argument not in entry.init_args and where[0] != "evaluate":
                message = f"{class_path}: missing a required argument: {argument!r}"
                at = (*where[:-1], "init_args") if entry.init_args else where
                yield at, message, "Give the arguments under init_args."


def _signature(source: ast.Module, name: str) -> dict[str, bool] | None:
    """Return the parameters of a class or function, and whether each is required; None if they are unknown."""
    found = [node for node in source.body if getattr(node, "name", None) == name]
    if len(found) != 1 or not isinstance(found[0], (ast.ClassDef, ast.FunctionDef)) or found[0].decorator_list:
        return None
    function, bound = found[0], 0
    if isinstance(function, ast.ClassDef):
        methods = [node for node in function.body if isinstance(node, ast.FunctionDef)]
        own = [node for node in methods if node.name == "__init__"]
        if len(own) != 1 or own[0].decorator_list or function.keywords or any(m.name == "__new__" for m in methods):
            return None
        function, bound = own[0], 1
    given = function.args
    if given.kwarg is not None or given.posonlyargs:
        return None
    positional = given.args[bound:]
    first_default = len(positional) - len(given.defaults)
    parameters = {one.arg: number < first_default for number, one in enumerate(positional)}
    return parameters | {one.arg: value is None for one, value in zip(given.kwonlyargs, given.kw_defaults)}


_INSTALL = "Run from the folder that holds the package, or install it."


def _guards(scenario: Scenario, path: Sequence[str]) -> Iterator[_Found]:
    for number, guard in enumerate(scenario.guards):
        if guard.class_path is None:
            continue
        if guard.command is not None:
            program = command_words.split(guard.command)[0]
            if shutil.which(program) is None:
                remedy = "Install it, or give the path of its program."
                yield ("guards", number, "command"), f"no program {program!r} can be run", remedy
            continue
        module, _, name = guard.class_path.rpartition(".")
        source = module_lookup.source(module, path)
        if source is not None and _derives_from_nothing(source, name):
            message = f"{guard.class_path!r} is not a Callback"
            remedy = f"Derive it from {framework_names.title()}'s Callback, or remove it."
            yield ("guards", number, "class_path"), message, remedy


def _derives_from_nothing(source: ast.Module, name: str) -> bool:
    """Return whether a class of a module, and all its bases, have no base outside of it."""
    definitions = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == name]
    if len(definitions) != 1 or definitions[0].decorator_list or definitions[0].keywords:
        return False
    bases = definitions[0].bases
    return all(
        isinstance(base, ast.Name)
        and base.id != name
        and (base.id == "object" or _derives_from_nothing(source, base.id))
        for base in bases
    )


def _trainer_arguments(scenario: Scenario) -> tuple[Key, Mapping[str, Any]]:
    if "class_path" in scenario.trainer:
        return ("trainer", "init_args"), dict(scenario.trainer.get("init_args") or {})
    return ("trainer",), scenario.trainer


def _trainer(scenario: Scenario) -> Iterator[_Found]:
    if "class_path" in scenario.trainer or not (known := trainer_parameters()):
        return
    given: list[tuple[Key, str]] = [(("trainer", name), name) for name in scenario.trainer]
    for number, guard in enumerate(scenario.guards):
        given += [(("guards", number, "trainer_flag", name), name) for name in guard.trainer_flag or {}]
    for where, name in given:
        if name not in known:
            yield where, f"Trainer has no argument {name!r}", nearest(name, known) or _SIGNATURE


_SIGNATURE = f"See the arguments of {framework_names.title()}'s Trainer."


def trainer_parameters() -> list[str]:
    """Return the arguments of the installed framework's Trainer, read from its source; none if there is none."""
    names: dict[str, None] = {}
    for namespace in packages.NAMESPACES:
        package, *within = namespace.split(".")
        for folder in module_lookup.folders_of(package):
            file = Path(folder, *within, "trainer", "trainer.py")
            names.update(dict.fromkeys(_parameters(file, "Trainer")))
    return list(names)


def _parameters(file: Path, name: str) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    yield from (one.arg for one in [*method.args.args[1:], *method.args.kwonlyargs])


def _devices(scenario: Scenario) -> Iterator[_Found]:
    where, arguments = _trainer_arguments(scenario)
    for key, message, remedy in several_ranks.refused(arguments, scenario.processes):
        yield (*where, *key), message, remedy
