"""A training script, run as Python's `__main__` up to its first ``Trainer.fit``."""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import NEVER_FITS, TargetError
from faultlab.frameworks.lightning import loaded_weights, second_run
from faultlab.frameworks.lightning.interception import Reached, intercepted
from faultlab.injection import mutant_activation
from faultlab.sandbox.last_words import listening

_REMEDY = "It has to get as far as Trainer.fit when it is run with these arguments and without faultlab."
_ARGUMENTS = (
    "Give the script's own arguments after --, as in `faultlab init train.py -- --lr 0.1`; a scenario has them under "
    "`build`, as `init_args: {arguments: [--lr, '0.1']}`."
)
# The modules that were `__main__` before: functions of theirs may still be running.
_before: list[ModuleType] = []


class MainScript:
    """One script; what it defines is found in `__main__`, there and in every process that it starts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        text = file.read_bytes()
        try:
            tree = ast.parse(text, str(file))
            self._code = compile(text, str(file), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise TargetError(_WHERE, f"{file.name} is no Python that can be read: {error}") from None
        self._package = package_of(file) if _imports_relatively(tree) else ""
        self._folder = os.getcwd()
        self._classes: dict[tuple[str, int], type] = {}
        self._trained: frozenset[type] = frozenset()
        self.module = self._made()
        mutant_activation.name_script(str(file), module_name(file))

    def run_to_fit(self, arguments: Sequence[str], trains: str = "") -> Reached:
        """Run the script from its beginning to its first ``Trainer.fit``, or the first of a module of that class.

        Raises:
            TargetError: It ends before.
        """
        # Where the script was started, wherever an earlier run of it has gone.
        os.chdir(self._folder)
        self._be_main(arguments)
        second_run.forget(sys.argv[0])
        reached = run_to_fit(lambda: exec(self._code, vars(self.module)), self.file, arguments, trains)
        os.chdir(self._folder)
        self._trained = frozenset(type(reached.call.get("model")).__mro__)
        return reached

    @property
    def has_run(self) -> bool:
        """Whether this process has all that the script imports and defines."""
        return bool(self._trained)

    def enter(self, reached: Reached) -> None:
        """Go to the folder that the script was in when it came to fit."""
        with contextlib.suppress(OSError):
            os.chdir(reached.folder)

    def _made(self) -> ModuleType:
        module = ModuleType("__main__")
        module.__file__ = str(self.file)
        own = {"__build_class__": self._build_class, "open": _open}
        module.__dict__["__builtins__"] = {**vars(builtins), **own}
        if self._package:
            name = f"{self._package}.{self.file.stem}"
            loader = SourceFileLoader(name, str(self.file))
            module.__spec__ = ModuleSpec(name, loader, origin=str(self.file))
            module.__loader__ = loader
            module.__package__ = self._package
        return module

    def _build_class(self, body: Any, name: str, *bases: Any, **more: Any) -> type:
        # The seams attach to the module's class before it is built: one that a second run defined anew would go
        # without them. All others are defined anew, as what decorates or registers them is.
        key = (f"{body.__qualname__}/{name}", body.__code__.co_firstlineno)
        known = self._classes.get(key)
        if known is not None and known in self._trained and "<locals>" not in body.__qualname__:
            more.pop("metaclass", None)
            super(known, known).__init_subclass__(**more)  # type: ignore[arg-type]
            return known
        made: type = builtins.__build_class__(body, name, *bases, **more)
        self._classes[key] = made
        return made

    def _be_main(self, arguments: Sequence[str]) -> None:
        """Makes the surroundings that ``python script.py``, or ``python -m package.script``, gives a script.

        For good: what the training asks for, pickles or starts, finds them later.
        """
        quieten()
        folder = package_root(self.file) if self._package else self.file.parent
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        if self._package:
            importlib.import_module(self._package)
        if sys.modules["__main__"] is not self.module:
            _before.append(sys.modules["__main__"])
            # Under the name too that processes give it which multiprocessing spawns.
            sys.modules["__main__"] = sys.modules["__mp_main__"] = self.module
        name = str(self.file) if self._package else os.path.relpath(self.file, self._folder)
        sys.argv[:] = [str(self.file) if name.startswith("..") else name, *map(str, arguments)]


def quieten() -> None:
    """Have no window opened, and nobody told over the network."""
    for variable, value in {"MPLBACKEND": "Agg", "WANDB_MODE": "disabled"}.items():
        os.environ.setdefault(variable, value)


@contextlib.contextmanager
def as_started(name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Have a command line meanwhile."""
    quieten()
    before = sys.argv[:]
    sys.argv[:] = [name, *map(str, arguments)]
    try:
        yield
    finally:
        sys.argv[:] = before


def run_to_fit(run: Callable[[], object], file: Path, arguments: Sequence[str], trains: str = "") -> Reached:
    """Call ``run`` until something in it comes to ``Trainer.fit``.

    Args:
        run: Runs the user's code of ``file``.
        file: What it is called in messages.
        arguments: Those that the code finds on its command line.
        trains: The class of the module whose fit is asked for; of any, unless given.

    Raises:
        TargetError: It ends before; what it printed last is said where it exits.
    """
    with intercepted(trains) as caught, loaded_weights.watched(), second_run.tolerated(), listening() as words:
        try:
            run()
        except Reached:
            pass
        except (Exception, SystemExit) as error:
            if not caught:
                what = f"{type(error).__name__}: {safe_text(error)}"
                exits = isinstance(error, SystemExit)
                said = f"; the last that it printed: {words.last()}" if exits and words.last() else ""
                remedy = _ARGUMENTS if exits and not arguments else _REMEDY
                message = f"{file.name}{_line_in(file, error)} ends with {what}{said}"
                raise TargetError(_WHERE, message, remedy) from error
    if not caught:
        message = f"{file.name} runs to its end and calls no Trainer.fit" + (f" of {trains}" if trains else "")
        raise TargetError(_WHERE, message, _REMEDY, NEVER_FITS)
    return caught[0]


def find_script(name: str, key: str = "script") -> Path:
    """Return the file of that name, from the working folder or the first of the project's that has it.

    Raises:
        TargetError: There is none; ``key`` is what names it in a scenario.
    """
    file = next((f for folder in ("", *sys.path) if (f := Path(folder, name)).is_file()), None)
    if file is None:
        raise TargetError(
            (*_WHERE[:2], key),
            f"no such {key}: {name}",
            "It is looked for from the folder that faultlab runs in, and from the project's: name it from one of them.",
        )
    return file.resolve()


def module_name(file: Path) -> str:
    """Return the name that a script's file has as a module, from the working folder where it lies below that."""
    path = file.resolve()
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    parts = path.with_suffix("").parts
    return ".".join(parts) if not path.is_absolute() and all(map(str.isidentifier, parts)) else path.stem


def package_root(file: Path) -> Path:
    """Return the folder from which ``python -m`` finds a script that is part of a package."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    if folder != file.parent:
        return folder
    # Packages need no such file: as far down as the user has gone.
    here = Path.cwd()
    return here if file.parent != here and file.is_relative_to(here) else file.parent.parent


def package_of(file: Path) -> str:
    """Return the dotted name of the package that a script is part of."""
    return ".".join(file.parent.relative_to(package_root(file)).parts)


_WHERE = ("build", "init_args", "script")


@functools.wraps(builtins.open)
def _open(*args: Any, **kwargs: Any) -> Any:
    """As it is at the time: runs read and write through an overlay, and the script's builtins are a copy."""
    return builtins.open(*args, **kwargs)


def _imports_relatively(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _line_in(file: Path, error: BaseException) -> str:
    """The script's own line that led to an error."""
    lines = []
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == str(file):
            lines.append(tb.tb_lineno)
        tb = tb.tb_next
    return f", line {lines[-1]}," if lines else ""
