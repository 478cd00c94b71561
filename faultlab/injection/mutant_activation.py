"""Source mutants in a process: which one is switched on, and which mutated functions run.

This code shares the victim's process. mutmut's trampolines look up the active mutant by name at every call; if it is
``STATS``, each trampoline records that its function runs.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faultlab.injection import init_arguments

STATS = "stats"
_FILE = "FAULTLAB_EXECUTIONS"
_readied: list[bool] = []
_names: dict[str, str] = {}
_scripts: list[str] = []
AT_IMPORT = "import"
# The frames of one call of a mutated function: the wrapper's, the trampoline's, and its own.
_FRAMES = 3


@dataclass(frozen=True)
class Ran:
    """The executions of mutated functions; a function is named by its module and its mangled name.

    ``places`` has for each function the places where it ran, in the order that they were first reached; ``by_run``
    has the places of each run. ``modules`` has the file that each mutated module was imported from.
    """

    places: dict[str, list[str]] = field(default_factory=dict)
    by_run: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Ran:
        """Read the notes of all processes; skip truncated lines."""
        found = cls()
        with contextlib.suppress(OSError):
            for line in file.read_text(encoding="utf-8").split("\n"):
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if "ran" in entry:
                        found.places.setdefault(entry["ran"], []).append(entry["at"])
                        found.by_run.setdefault(entry["ran"], {}).setdefault(entry["run"], set()).add(entry["at"])
                    else:
                        found.modules[entry["module"]] = entry["file"]
        return found

    def wavers(self, function: str, runs: Collection[str]) -> bool:
        """Return True if the function ran at different places in these runs."""
        own = [self.by_run.get(function, {}).get(run, set()) for run in runs]
        return any(places != own[0] for places in own)


class Executions:
    """Records in a file which mutated functions run, once for each place that ``where`` returns.

    Copies of the process, such as loader workers, write to the same file. ``run`` names the run that a copy executes.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.run = ""
        self.where: Callable[[], str] = lambda: AT_IMPORT
        self._seen: set[tuple[str, str]] = set()
        # Each process appends whole lines.
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.environ[_FILE] = str(file)

    def ran(self, function: str) -> None:
        """Record that a function runs; called by every trampoline."""
        place = self.where()
        if (function, place) not in self._seen:
            self._seen.add((function, place))
            self._write({"ran": function, "at": place, "run": self.run})

    def imported(self, function: Callable[..., Any]) -> None:
        """Record the file of a function that gets a trampoline; called when its module is imported."""
        module = str(function.__module__)
        # The mutants of a script without a name can't be switched on by name.
        if module != "__main__" and (module, "") not in self._seen:
            self._seen.add((module, ""))
            # Resolved now: the path may go through a link in a folder that is removed after the test.
            self._write({"module": module, "file": os.path.realpath(function.__code__.co_filename)})

    def _write(self, entry: dict[str, str]) -> None:
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")

    @contextlib.contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Record what runs inside the context at this place."""
        outer, self.where = self.where, lambda: place
        try:
            yield
        finally:
            self.where = outer


def ready() -> None:
    """Prepare a process that a prepared one started; when it was started is no longer known."""
    if not _readied:
        noting = os.environ.get("MUTANT_UNDER_TEST") == STATS and _FILE in os.environ
        install(Executions(Path(os.environ[_FILE])) if noting else None)


def install(executions: Executions | None = None) -> None:
    """Make mutated code behave like the original, before any of it is imported, and record executions."""
    disguise(lambda function: executions.imported(function) if executions is not None else None)
    from mutmut.mutation import trampoline

    def record(name: str, caller: str | None = None) -> None:
        if executions is not None:
            executions.ran(_of_script(name))

    replaced: Any = trampoline
    replaced.record_trampoline_hit = record


def disguise(imported: Callable[[Callable[..., Any]], None] = lambda function: None) -> None:
    """Make mutated functions look like the user's to introspection; call ``imported`` for each of them."""
    if not _readied:
        # Recursive code may recurse as deep as without trampolines.
        sys.setrecursionlimit(_FRAMES * sys.getrecursionlimit())
    _readied.append(True)
    # Otherwise imported with the first mutated file, which may be inside a test.
    from mutmut.mutation import trampoline

    wrap: Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]] = trampoline.wrap_in_trampoline

    def wrapping(mutants: Any, is_classmethod: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        # By now the base class of a module has been imported, and Lightning with it.
        init_arguments.restore()
        decorate = wrap(mutants, is_classmethod)

        def decorating(function: Callable[..., Any]) -> Callable[..., Any]:
            shown = function.__module__
            if shown == "__main__":
                _under_one_name(function)
            imported(function)
            wrapped = decorate(function)
            _under_one_name(function)
            if shown == "__main__":
                # Code that looks up where a script's function comes from, as Hydra does, has to find the script.
                wrapped.__module__ = shown
            # Not all code unwraps a wrapper: Lightning, on loading a checkpoint, would see one that takes any keyword,
            # and pass those that the user's `__init__` does not take.
            looks: Any = wrapped
            looks.__signature__ = inspect.signature(function)
            return wrapped

        return decorating

    replaced: Any = trampoline
    replaced.wrap_in_trampoline = wrapping


def module_name(file: Path) -> str:
    """Return the module name of a script, relative to the working folder if the script is below it."""
    path = file.resolve()
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    parts = path.with_suffix("").parts
    return ".".join(parts) if not path.is_absolute() and all(map(str.isidentifier, parts)) else path.stem


def name_script(file: str, name: str) -> None:
    """Give a script that runs as ``__main__`` the name under which its mutants are switched on."""
    _names.setdefault(os.path.realpath(file), name)
    _scripts.append(name)


def _of_script(function: str) -> str:
    """Return the function's name, with the script's name in place of ``__main__``."""
    module, _, name = function.rpartition(".")
    return f"{_scripts[-1]}.{name}" if module == "__main__" and _scripts else function


def _under_one_name(function: Callable[..., Any]) -> None:
    """Give a file that is imported under two names its first name in both."""
    file = os.path.realpath(function.__code__.co_filename)
    if function.__module__ == "__main__":
        function.__module__ = _names.get(file, "__main__")
    else:
        function.__module__ = _names.setdefault(file, function.__module__)


def begin(mutated: Mapping[str, str] | None, switch: str) -> Executions | None:
    """Prepare a process to import a scenario's code; return None if the code has no mutants.

    ``mutated`` has the working folder (``cwd``) and the file to record executions in (``ran``).
    """
    if not mutated:
        return None
    os.chdir(mutated["cwd"])
    executions = Executions(Path(mutated["ran"]))
    install(executions)
    switch_to(switch)
    return executions


def switch_to(mutant: str) -> None:
    """Switch on one mutant and all others off; with an empty name, all of them."""
    from mutmut.mutation.trampoline import set_mutant_under_test

    # Code under test that clears the environment must not switch off the mutant with it.
    set_mutant_under_test(mutant)


def rest() -> None:
    """Switch off all mutants, and record no executions, if this process has mutants at all."""
    if _readied:
        switch_to("")
