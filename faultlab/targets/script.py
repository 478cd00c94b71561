"""A training script as a target: run up to ``Trainer.fit``, it provides the module, data and Trainer arguments.

Scenarios name it as ``build: {class_path: faultlab.targets.script.build, init_args: {script: train.py}}``; it runs
inside victims. The script is `__main__` there, as under ``python train.py``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlab.errors import TargetError
from faultlab.frameworks.lightning import interception
from faultlab.frameworks.lightning.cli_config import CliConfig
from faultlab.frameworks.lightning.interception import Reached
from faultlab.frameworks.lightning.main_script import MainScript, find_script
from faultlab.frameworks.lightning.script_parts import ScriptParts
from faultlab.frameworks.lightning.target import PREPARE

_running: dict[tuple[type, str], MainScript | CliConfig] = {}
_defined: dict[Path, ScriptParts] = {}
_calls: list[Mapping[str, Any]] = []
_asked: list[tuple[Mapping[str, Any], Sequence[Any]]] = []


def build(
    script: str,
    arguments: Sequence[str] = (),
    keep: Sequence[str] = (),
    without: Sequence[str] = (),
    trains: str = "",
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the module, data and Trainer arguments that the script passes to its first ``Trainer.fit``.

    Callbacks that judge the training become guards; a ModelCheckpoint is replaced by one that writes nothing but
    requires its metric.

    Args:
        script: The script's path, relative to the working folder or the project's.
        arguments: The script's command line, without its name.
        keep: Names of Trainer arguments that would otherwise be left out, such as ``logger``.
        without: Classes of callbacks to leave out as well.
        trains: The class of the module to train if the script fits several: fits of others do nothing.

    Raises:
        TargetError: The script ends before ``Trainer.fit``.
    """
    return _built(_main_script(script).run_to_fit(arguments, trains), _main_script(script), keep, without)


def configured(
    config: str, arguments: Sequence[str] = (), keep: Sequence[str] = (), without: Sequence[str] = ()
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the module, data and Trainer arguments that LightningCLI builds from a config file with class paths.

    Args:
        config: The file's path, relative to the working folder or the project's.
        arguments: The command line after ``fit --config FILE``.
        keep: As for `build`.
        without: As for `build`.

    Raises:
        TargetError: There is no such file, or LightningCLI can't use it.
    """
    return _built(_configured(config).run_to_fit(arguments), _configured(config), keep, without)


def module(script: str, name: str, init_args: Mapping[str, Any] | None = None) -> Any:
    """Return an object of a class that the script defines; only the script's imports and definitions are run.

    Class paths within ``init_args`` may be names of the script's own classes.
    """
    defined = _parts(script).define()
    if name not in defined:
        raise TargetError(("module", "init_args", "name"), f"{script}: does not define {name!r}")
    return _made(defined, {"class_path": name, "init_args": dict(init_args or {})})


@dataclass(frozen=True)
class Handed:
    """The arguments that a script passes to its Trainer: ``flags`` are those with plain values.

    ``left_out`` are the callbacks, followed by other arguments, that a run leaves out, with the reason.
    """

    flags: Mapping[str, Any]
    left_out: Sequence[tuple[str, str]]


def handed(build: Mapping[str, Any]) -> Handed | None:
    """Return what the script of a scenario's ``build`` passes to its Trainer; None if it names no script.

    Raises:
        TargetError: The script ends before ``Trainer.fit``.
    """
    if build["class_path"] not in _FOUND:
        return None
    find, key = _FOUND[build["class_path"]]
    given = build["init_args"]
    trainer = find(given[key]).run_to_fit(given.get("arguments", ()), given.get("trains", "")).trainer
    kept, without = given.get("keep", ()), given.get("without", ())
    return Handed(interception.plain_arguments(trainer), interception.left_out(trainer, kept, without))


def fit_calls() -> Sequence[Mapping[str, Any]]:
    """Return the arguments that the scripts run by this process passed to ``Trainer.fit``."""
    return _calls


def asked_of_trainers() -> Sequence[tuple[Mapping[str, Any], Sequence[Any]]]:
    """Return the plain arguments and the callbacks that these scripts passed to their Trainers, including left-out
    ones."""
    return _asked


def skipped() -> list[str]:
    """Return the parts of this process's scripts that could not be defined, one line each."""
    return [line for parts in _defined.values() for line in parts.skipped]


def _built(
    reached: Reached, source: MainScript | CliConfig, keep: Sequence[str], without: Sequence[str]
) -> tuple[Any, Any, dict[str, Any]]:
    source.enter(reached)
    _calls.append(reached.call)
    _asked.append((interception.plain_arguments(reached.trainer), interception.callbacks(reached.trainer)))
    more = interception.trainer_arguments(reached.trainer, frozenset(keep), without)
    return reached.call["model"], interception.data_of(reached), more


def _prepare_build(
    where: tuple[str | int, ...], script: str, arguments: Sequence[str] = (), trains: str = "", **more: Any
) -> None:
    """Run the script once in the process that every run is forked from, so that all runs share its imports and
    definitions."""
    if not _main_script(script).has_run:
        _prepared(where, lambda: _main_script(script).run_to_fit(arguments, trains))


def _prepare_configured(where: tuple[str | int, ...], config: str, arguments: Sequence[str] = (), **more: Any) -> None:
    _prepared(where, lambda: _configured(config).run_to_fit(arguments))


def _prepared(where: tuple[str | int, ...], run: Callable[[], Reached]) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()
    except TargetError as error:
        raise TargetError((*where, *error.where[1:]), error.message, error.remedy, error.reason) from None


def _prepare_module(where: tuple[str | int, ...], script: str, **more: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        _parts(script).define()


setattr(build, PREPARE, _prepare_build)
setattr(configured, PREPARE, _prepare_configured)
setattr(module, PREPARE, _prepare_module)


def _main_script(name: str) -> MainScript:
    if (MainScript, name) not in _running:
        _running[MainScript, name] = MainScript(find_script(name))
    found = _running[MainScript, name]
    assert isinstance(found, MainScript)
    return found


def _configured(name: str) -> CliConfig:
    if (CliConfig, name) not in _running:
        _running[CliConfig, name] = CliConfig(find_script(name, "config"))
    found = _running[CliConfig, name]
    assert isinstance(found, CliConfig)
    return found


def _parts(name: str) -> ScriptParts:
    file = find_script(name)
    if file not in _defined:
        _defined[file] = ScriptParts(file)
    return _defined[file]


_FOUND: dict[str, tuple[Callable[[str], MainScript | CliConfig], str]] = {
    "faultlab.targets.script.build": (_main_script, "script"),
    "faultlab.targets.script.configured": (_configured, "config"),
}


def _made(defined: Mapping[str, Any], value: Any) -> Any:
    """Build the objects that `class_path` names among the script's definitions, or elsewhere, recursively."""
    if isinstance(value, list):
        return [_made(defined, item) for item in value]
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    path = value["class_path"]
    folder, _, name = path.rpartition(".")
    factory = defined[name] if not folder else getattr(importlib.import_module(folder), name)
    return factory(**{key: _made(defined, inner) for key, inner in (value.get("init_args") or {}).items()})
