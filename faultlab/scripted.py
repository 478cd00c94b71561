"""A training script as a target: run as far as ``Trainer.fit``, it gives module, data and Trainer arguments.

Named by a scenario, as ``build: {class_path: faultlab.scripted.build, init_args: {script: train.py}}``; runs inside
victims. The script is a module of its own name here, with its `if __name__ == "__main__"` block run, so that its
classes can be found, pickled and pointed to; a class that is defined anew by a second run stays the class of the first.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from faultlab.detectors.notice import safe_text
from faultlab.frameworks.lightning import script_callbacks
from faultlab.seams import lightning
from faultlab.seams.patching import Patches
from faultlab.target import PREPARE, TargetError

# What has no place in a run that is one of hundreds: devices, what is written, what is shown.
_LEFT_OUT = {"accelerator", "barebones", "default_root_dir", "detect_anomaly", "devices", "enable_checkpointing",
             "enable_model_summary", "enable_progress_bar", "fast_dev_run", "logger", "max_time", "num_nodes",
             "plugins", "profiler", "strategy", "sync_batchnorm"}  # fmt: skip
_HALF = ("16", "16-true", "16-mixed")
_ARGUMENTS = "__faultlab_arguments__"
_AT_FIRST = "__faultlab_callbacks__"


class Reached(BaseException):
    """Thrown out of ``Trainer.fit``, past whatever the script catches; with all that the call was given."""

    def __init__(self, trainer: Any, call: Mapping[str, Any]) -> None:
        self.trainer = trainer
        self.call = dict(call)
        super().__init__("Trainer.fit was reached")


def build(
    script: str, arguments: Sequence[str] = (), keep: Sequence[str] = (), without: Sequence[str] = ()
) -> tuple[Any, Any, dict[str, Any]]:
    """The module, data and Trainer arguments that the script hands to its first ``Trainer.fit``.

    ``arguments`` are what follows the script's name on its command line; ``keep`` names Trainer arguments that would be
    left out, such as ``logger``, ``without`` classes of callbacks that would not. Callbacks that judge the training
    become guards; a ModelCheckpoint becomes one that writes nothing and looks for its metric. Raises TargetError where
    the script ends before.
    """
    reached = _script(script).run_to_fit(arguments)
    call = reached.call
    data = call.get("datamodule")
    if data is None and (loaders := call.get("train_dataloaders")) is not None:
        validation = call.get("val_dataloaders")
        both = validation is not None or isinstance(loaders, tuple)
        data = (loaders, validation) if both else loaders
    return call["model"], data, _trainer_arguments(reached.trainer, frozenset(keep), without)


def module(script: str, name: str, init_args: Mapping[str, Any] | None = None) -> Any:
    """An object of the class that the script defines; of the rest of it only imports and definitions are run.

    Class paths within ``init_args`` may be names of the script's own classes.
    """
    defined = _script(script).define()
    if name not in defined:
        raise TargetError(("module", "init_args", "name"), f"{script} defines no {name!r}")
    return _made(defined, {"class_path": name, "init_args": dict(init_args or {})})


def _prepare_build(where: tuple[str | int, ...], script: str, arguments: Sequence[str] = (), **more: Any) -> None:
    """Runs the script once where every run is forked off: what it imports and defines, all of them find there."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            _script(script).run_to_fit(arguments)
    except TargetError as error:
        raise TargetError((*where, *error.where[1:]), error.message, error.remedy) from None


def _prepare_module(where: tuple[str | int, ...], script: str, **more: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        _script(script).define()


setattr(build, PREPARE, _prepare_build)
setattr(module, PREPARE, _prepare_module)


@functools.wraps(builtins.open)
def _open(*args: Any, **kwargs: Any) -> Any:
    """As it is at the time: runs read and write through an overlay, and the script's builtins are a copy."""
    return builtins.open(*args, **kwargs)


class Script:
    """One script in this process; `skipped` is what of it could not be run by `define`, a line each.

    ``call`` is what the script gives ``Trainer.fit``, once it has come so far.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.skipped: list[str] = []
        self.call: Mapping[str, Any] = {}
        self._classes: dict[tuple[str, int], type] = {}
        self._defined = False
        self._tree = _Main().visit(ast.parse(file.read_bytes(), str(file)))
        self._module = ModuleType(module_name(file))
        self._module.__file__ = str(file)
        own = {"__build_class__": self._build_class, "open": _open}
        self._module.__dict__["__builtins__"] = {**vars(builtins), **own}

    def run_to_fit(self, arguments: Sequence[str]) -> Reached:
        """Runs the script from its beginning to its first ``Trainer.fit``; raises TargetError where it ends before."""
        where = ("build", "init_args", "script")
        remedy = "It has to get as far as Trainer.fit when it is run with these arguments and without faultlab."
        with Patches() as patches, self._as_main(arguments):
            caught: list[Reached] = []
            patched: set[str] = set()
            self._defined = True
            try:
                for statement in self._tree.body:
                    _intercept(patches, patched, caught)
                    self._execute([statement])
            except Reached:
                pass
            except (Exception, SystemExit) as error:
                if not caught:
                    line = _line_in(self.file, error)
                    what = f"{type(error).__name__}: {safe_text(error)}"
                    raise TargetError(where, f"{self.file.name}{line} ends with {what}", remedy) from error
        if not caught:
            raise TargetError(where, f"{self.file.name} runs to its end and calls no Trainer.fit", remedy)
        self.call = caught[0].call
        return caught[0]

    def define(self) -> dict[str, Any]:
        """Runs imports, definitions and simple assignments alone; what fails is skipped and noted."""
        if not self._defined:
            self._defined = True
            with self._as_main(()):
                for statement in self._tree.body:
                    if _defines(statement):
                        try:
                            self._execute([statement])
                        except (Exception, SystemExit) as error:
                            self.skipped.append(f"line {statement.lineno}: {type(error).__name__}: {safe_text(error)}")
        return vars(self._module)

    def _execute(self, statements: list[ast.stmt]) -> None:
        exec(compile(ast.Module(statements, []), str(self.file), "exec"), vars(self._module))

    def _build_class(self, body: Any, name: str, *bases: Any, **more: Any) -> type:
        # The seams attach to classes: one that a second run defined anew would go without them.
        key = (f"{body.__qualname__}/{name}", body.__code__.co_firstlineno)
        known = self._classes.get(key)
        if known is not None and "<locals>" not in body.__qualname__:
            return known
        made: type = builtins.__build_class__(body, name, *bases, **more)
        return self._classes.setdefault(key, made) if "<locals>" not in body.__qualname__ else made

    @contextlib.contextmanager
    def _as_main(self, arguments: Sequence[str]) -> Iterator[None]:
        """The surroundings that Python gives a script."""
        # No window opens, and nobody is told of a run over the network.
        for variable, value in {"MPLBACKEND": "Agg", "WANDB_MODE": "disabled"}.items():
            os.environ.setdefault(variable, value)
        if str(self.file.parent) not in sys.path:
            sys.path.insert(0, str(self.file.parent))
        sys.modules[self._module.__name__] = self._module
        before = sys.argv[:]
        sys.argv[:] = [str(self.file), *map(str, arguments)]
        try:
            yield
        finally:
            sys.argv[:] = before


_scripts: dict[Path, Script] = {}


def known() -> list[Script]:
    """The scripts that this process has run, or parts of them."""
    return list(_scripts.values())


def _script(name: str) -> Script:
    where = ("build", "init_args", "script")
    file = next((f for folder in ("", *sys.path) if (f := Path(folder, name)).is_file()), None)
    if file is None:
        raise TargetError(
            where,
            f"no such script: {name}",
            "It is looked for from the folder that faultlab runs in, and from the project's: name it from one of them.",
        )
    file = file.resolve()
    if file not in _scripts:
        try:
            _scripts[file] = Script(file)
        except (SyntaxError, ValueError) as error:
            raise TargetError(where, f"{name} is no Python that can be read: {error}") from None
    return _scripts[file]


def module_name(file: Path) -> str:
    """The name that a script's file has as a module, from the working folder where it lies below that."""
    path = file.resolve()
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    parts = path.with_suffix("").parts
    return ".".join(parts) if not path.is_absolute() and all(map(str.isidentifier, parts)) else path.stem


class _Main(ast.NodeTransformer):
    """Makes `__name__ == "__main__"` true."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [node.left, *node.comparators]
        names = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
        main = any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)
        if len(sides) == 2 and names and main and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            return ast.copy_location(ast.Constant(isinstance(node.ops[0], ast.Eq)), node)
        return node


def _defines(statement: ast.stmt) -> bool:
    """Whether a statement of a script is an import or a definition, and not what the script does."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    if isinstance(statement, (ast.If, ast.Try)):
        return all(_defines(inner) or isinstance(inner, ast.Pass) for inner in statement.body)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    # Constants, and what little is computed of them: a call may be what takes an hour, or a download.
    called = [node.func for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
    return all(ast.unparse(call) in ("int", "float", "min", "max", "dict", "list", "os.cpu_count") for call in called)


def _intercept(patches: Patches, patched: set[str], caught: list[Reached]) -> None:
    """Has every Trainer remember its arguments, reach no further than fit, and do nothing before it."""

    def remembering(init: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(init)

        def initialised(self: Any, *args: Any, **kwargs: Any) -> None:
            given = dict(signature.bind(self, *args, **kwargs).arguments)
            given.pop(next(iter(signature.parameters)))
            # Copied: the Trainer puts callbacks of its own into the very list.
            remembered = {name: list(value) if isinstance(value, list) else value for name, value in given.items()}
            # As the victims will have it: what the script asks for may not be there, and must not be looked for.
            here = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "plugins": None}
            changed = {**given, **{name: value for name, value in here.items() if name in given}}
            if str(given.get("precision")) in _HALF:
                del changed["precision"]
            init(self, **changed)
            setattr(self, _ARGUMENTS, remembered)
            setattr(self, _AT_FIRST, list(self.callbacks))

        return initialised

    def reaching(fit: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(fit)

        def reached(self: Any, *args: Any, **kwargs: Any) -> None:
            call = dict(signature.bind(self, *args, **kwargs).arguments)
            caught.append(Reached(self, call))
            raise caught[-1]

        return reached

    def idle(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: []

    for namespace in lightning.loaded():
        if namespace not in patched:
            patched.add(namespace)
            trainer = sys.modules[namespace].Trainer
            patches.wrap(trainer, "__init__", remembering)
            patches.wrap(trainer, "fit", reaching)
            for method in ("validate", "test", "predict"):
                patches.wrap(trainer, method, idle)


def _trainer_arguments(trainer: Any, keep: frozenset[str], without: Sequence[str]) -> dict[str, Any]:
    """The script's Trainer arguments that matter for one run of many, its callbacks sorted into guards and others."""
    given = dict(getattr(trainer, _ARGUMENTS, {}))
    kept = {name: value for name, value in given.items() if name not in _LEFT_OUT or name in keep}
    if str(kept.get("precision")) in _HALF:
        del kept["precision"]
    found = script_callbacks.sort(_callbacks(trainer), without)
    kept.update(callbacks=found.training, guards=found.guards)
    own = type(trainer)
    if not lightning.is_lightnings(own):
        # The arguments are those that reached Lightning's own constructor, whatever the subclass made them of.
        init = vars(next(cls for cls in own.__mro__ if lightning.is_lightnings(cls)))["__init__"]
        kept["trainer_class"] = type(own.__name__, (own,), {"__init__": init, "__module__": own.__module__})
    return kept


def _callbacks(trainer: Any) -> list[Any]:
    """The callbacks that the script gives its Trainer, those too that it adds to a Trainer that is there."""
    given = getattr(trainer, _ARGUMENTS, {}).get("callbacks") or []
    first = list(given) if isinstance(given, (list, tuple)) else [given]
    known = [*first, *getattr(trainer, _AT_FIRST, [])]
    return first + [callback for callback in trainer.callbacks if not any(callback is one for one in known)]


@dataclass(frozen=True)
class Handed:
    """What a script hands its Trainer: ``flags`` are the arguments that are plain values, as they are given.

    ``left_out`` are the callbacks, and then other arguments, that a run goes without, with the reason.
    """

    flags: Mapping[str, Any]
    left_out: Sequence[tuple[str, str]]


def handed(script: str, arguments: Sequence[str] = (), keep: Sequence[str] = (), without: Sequence[str] = ()) -> Handed:
    """What the script hands its Trainer; raises TargetError where it ends before."""
    trainer = _script(script).run_to_fit(arguments).trainer
    given = getattr(trainer, _ARGUMENTS, {})
    usual = inspect.signature(type(trainer).__init__).parameters
    other = [
        (name, "not for a run that is one of many; `keep` has it kept")
        for name, value in given.items()
        if name in _LEFT_OUT and name not in keep and value is not None
        if name not in usual or value is not usual[name].default
    ]
    plain = {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}
    return Handed(plain, [*script_callbacks.sort(_callbacks(trainer), without).left_out, *other])


def _made(defined: Mapping[str, Any], value: Any) -> Any:
    """Objects of what `class_path` names among the script's definitions, or elsewhere, all the way down."""
    if isinstance(value, list):
        return [_made(defined, item) for item in value]
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    path = value["class_path"]
    folder, _, name = path.rpartition(".")
    factory = defined[name] if not folder else getattr(importlib.import_module(folder), name)
    return factory(**{key: _made(defined, inner) for key, inner in (value.get("init_args") or {}).items()})


def _line_in(file: Path, error: BaseException) -> str:
    """The script's own line that led to an error."""
    lines = []
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == str(file):
            lines.append(tb.tb_lineno)
        tb = tb.tb_next
    return f", line {lines[-1]}," if lines else ""
