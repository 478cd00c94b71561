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

_ARGUMENTS = (
    "Pass the script's own arguments after --, as in `faultlab init train.py -- --lr 0.1`; in a scenario, under"
    "`build`, as `init_args: {arguments: [--lr, '0.1']}`."
)
# The previous `__main__` modules: their functions may still be running.
_before: list[ModuleType] = []


class MainScript:
    """One script; its definitions are found in `__main__`, in this process and in every process that it starts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        text = file.read_bytes()
        try:
            tree = ast.parse(text, str(file))
            self._code = compile(text, str(file), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise TargetError(_WHERE, f"{file.name} is not valid Python: {error}") from None
        self._package = package_of(file) if _imports_relatively(tree) else ""
        self._folder = os.getcwd()
        self._classes: dict[tuple[str, int], type] = {}
        self._trained: frozenset[type] = frozenset()
        self.module = self._made()
        mutant_activation.name_script(str(file), mutant_activation.module_name(file))

    def run_to_fit(self, arguments: Sequence[str], trains: str = "") -> Reached:
        """Run the script from its beginning to its first ``Trainer.fit``, or the first one of that class.

        Raises:
            TargetError: The script ends before.
        """
        # In the folder where the script was started, wherever an earlier run of it changed to.
        os.chdir(self._folder)
        self._be_main(arguments)
        second_run.forget(sys.argv[0])
        reached = run_to_fit(lambda: exec(self._code, vars(self.module)), self.file, arguments, trains)
        os.chdir(self._folder)
        self._trained = frozenset(type(reached.call.get("model")).__mro__)
        return reached

    @property
    def has_run(self) -> bool:
        """True once this process has everything that the script imports and defines."""
        return bool(self._trained)

    def enter(self, reached: Reached) -> None:
        """Change to the working folder that the script had when it reached fit."""
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
        # Seams attach to the module's class before it is built, so a second run must not define that class again: the
        # new one would have no seams. All other classes are defined again, as are the objects that decorate or register
        # them.
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
        """Set up the environment that ``python script.py``, or ``python -m package.script``, gives a script.

        Permanently: the training looks up, pickles or starts things later.
        """
        quieten()
        folder = package_root(self.file) if self._package else self.file.parent
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        if self._package:
            importlib.import_module(self._package)
        if sys.modules["__main__"] is not self.module:
            _before.append(sys.modules["__main__"])
            # Also under the name that it has in processes which multiprocessing spawns.
            sys.modules["__main__"] = sys.modules["__mp_main__"] = self.module
        name = str(self.file) if self._package else os.path.relpath(self.file, self._folder)
        sys.argv[:] = [str(self.file) if name.startswith("..") else name, *map(str, arguments)]


def quieten() -> None:
    """Prevent windows and reports over the network."""
    for variable, value in {"MPLBACKEND": "Agg", "WANDB_MODE": "disabled"}.items():
        os.environ.setdefault(variable, value)


@contextlib.contextmanager
def as_started(name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Set the command line inside the context."""
    quieten()
    before = sys.argv[:]
    sys.argv[:] = [name, *map(str, arguments)]
    try:
        yield
    finally:
        sys.argv[:] = before


def run_to_fit(run: Callable[[], object], file: Path, arguments: Sequence[str], trains: str = "") -> Reached:
    """Call ``run`` until its code reaches ``Trainer.fit``.

    Args:
        run: Runs the user's code of ``file``.
        file: The name for messages.
        arguments: The command line that the code receives.
        trains: The class name of the module whose fit to wait for; any, if empty.

    Raises:
        TargetError: The code ends before; if it exits, the message has its last output.
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
                printed = f"; its last output: {words.last()}" if exits and words.last() else ""
                remedy = _ARGUMENTS if exits and not arguments else _remedy(arguments)
                message = f"{file.name}{_line_in(file, error)} {'ends with' if exits else 'raises'} {what}{printed}"
                raise TargetError(_WHERE, message, remedy) from error
    if not caught:
        message = f"{file.name} runs to its end and calls no Trainer.fit" + (f" of {trains}" if trains else "")
        raise TargetError(_WHERE, message, _remedy(arguments), NEVER_FITS)
    return caught[0]


def find_script(name: str, key: str = "script") -> Path:
    """Return the file of that name, from the working folder or the first folder of the project that has it.

    Raises:
        TargetError: There is no such file; ``key`` is the scenario's key for it.
    """
    file = next((f for folder in ("", *sys.path) if (f := Path(folder, name)).is_file()), None)
    if file is None:
        raise TargetError(
            (*_WHERE[:2], key),
            f"no such {key}: {name}",
            "Name it relative to the folder that faultlab runs in, or to one of the project's folders.",
        )
    return file.resolve()


def package_root(file: Path) -> Path:
    """Return the folder where ``python -m`` finds a script that is part of a package."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    if folder != file.parent:
        return folder
    # Packages need no such file: use the user's working folder.
    here = Path.cwd()
    return here if file.parent != here and file.is_relative_to(here) else file.parent.parent


def package_of(file: Path) -> str:
    """Return the dotted name of the package that a script is part of."""
    return ".".join(file.parent.relative_to(package_root(file)).parts)


_WHERE = ("build", "init_args", "script")


@functools.wraps(builtins.open)
def _open(*args: Any, **kwargs: Any) -> Any:
    """Call the current builtin: runs read and write through an overlay, and the script's builtins are a copy."""
    return builtins.open(*args, **kwargs)


def _imports_relatively(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _line_in(file: Path, error: BaseException) -> str:
    """Return the script's own line that led to an error."""
    lines = []
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == str(file):
            lines.append(tb.tb_lineno)
        tb = tb.tb_next
    return f", line {lines[-1]}," if lines else ""


def _remedy(arguments: Sequence[str]) -> str:
    with_them = "with these arguments and " if arguments else ""
    return f"Make sure that it reaches Trainer.fit when you run it {with_them}without faultlab."
