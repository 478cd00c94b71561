"""Mutants in a process: which of them is switched on, and which of the functions that have mutants run at all.

What runs here shares the victim's process. mutmut's trampolines ask for the mutant by name at every call; a process
that listens for ``STATS`` instead has each of them say that its function runs.
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
# A call of a mutated function: its wrapper's, the trampoline's, and its own.
_FRAMES = 3


@dataclass(frozen=True)
class Ran:
    """What ran: for each function, by the module that it was found in and its mangled name, where it did.

    ``places`` are in the order in which they were first reached, ``by_run`` has those of each run by itself.
    ``modules`` has the file that each mutated module was imported from.
    """

    places: dict[str, list[str]] = field(default_factory=dict)
    by_run: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Ran:
        """Reads what all processes have noted; a line that was cut short is left out."""
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
        """Whether it ran in other places in one of the runs than in another."""
        own = [self.by_run.get(function, {}).get(run, set()) for run in runs]
        return any(places != own[0] for places in own)


class Executions:
    """Notes in a file which mutated functions run, once for each place that ``where`` gives.

    Copies of the process, such as workers of a loader, write to the same file. ``run`` says which run a copy carries
    out.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.run = ""
        self.where: Callable[[], str] = lambda: AT_IMPORT
        self._seen: set[tuple[str, str]] = set()
        # Whole lines, from whichever process.
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.environ[_FILE] = str(file)

    def ran(self, function: str) -> None:
        """Called by every trampoline whose function runs."""
        place = self.where()
        if (function, place) not in self._seen:
            self._seen.add((function, place))
            self._write({"ran": function, "at": place, "run": self.run})

    def imported(self, function: Callable[..., Any]) -> None:
        """Called for every function that gets a trampoline, when its module is imported."""
        module = str(function.__module__)
        # A script that was given no name has none by which one of its mutants could be switched on.
        if module != "__main__" and (module, "") not in self._seen:
            self._seen.add((module, ""))
            # Now: the path may lead over a link in a folder that goes with the test.
            self._write({"module": module, "file": os.path.realpath(function.__code__.co_filename)})

    def _write(self, entry: dict[str, str]) -> None:
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")

    @contextlib.contextmanager
    def at(self, place: str) -> Iterator[None]:
        """What runs meanwhile runs there."""
        outer, self.where = self.where, lambda: place
        try:
            yield
        finally:
            self.where = outer


def ready() -> None:
    """Readies a process that a readied one has started. Where in the other's time that was, nobody knows any more."""
    if not _readied:
        noting = os.environ.get("MUTANT_UNDER_TEST") == STATS and _FILE in os.environ
        install(Executions(Path(os.environ[_FILE])) if noting else None)


def install(executions: Executions | None = None) -> None:
    """Makes mutated code work as the original does, before any of it is imported, and has executions noted."""
    disguise(lambda function: executions.imported(function) if executions is not None else None)
    from mutmut.mutation import trampoline

    def record(name: str, caller: str | None = None) -> None:
        if executions is not None:
            executions.ran(_of_script(name))

    replaced: Any = trampoline
    replaced.record_trampoline_hit = record


def disguise(imported: Callable[[Callable[..., Any]], None] = lambda function: None) -> None:
    """Has mutated functions look like the user's to whoever inspects them, and tells of each that is ``imported``."""
    if not _readied:
        # What calls itself may do so as deep as without trampolines.
        sys.setrecursionlimit(_FRAMES * sys.getrecursionlimit())
    _readied.append(True)
    # Imported with the first mutated file otherwise, which may be within a test.
    from mutmut.mutation import trampoline

    wrap: Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]] = trampoline.wrap_in_trampoline

    def wrapping(mutants: Any, is_classmethod: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        # By now the class that a module is derived from has been imported, and Lightning with it.
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
                # Whoever asks where a script's function is from, as Hydra does, has to find the script.
                wrapped.__module__ = shown
            # Not everybody looks behind a wrapper: Lightning, which loads a checkpoint, would see one that takes any
            # keyword, and hand over those that the user's `__init__` does not take.
            looks: Any = wrapped
            looks.__signature__ = inspect.signature(function)
            return wrapped

        return decorating

    replaced: Any = trampoline
    replaced.wrap_in_trampoline = wrapping


def name_script(file: str, name: str) -> None:
    """Have mutants of a script that is run as ``__main__`` take orders under a name."""
    _names.setdefault(os.path.realpath(file), name)
    _scripts.append(name)


def _of_script(function: str) -> str:
    """The function's name, with that of the script for ``__main__``."""
    module, _, name = function.rpartition(".")
    return f"{_scripts[-1]}.{name}" if module == "__main__" and _scripts else function


def _under_one_name(function: Callable[..., Any]) -> None:
    """Has a file that is imported under two names take orders under the first one in both."""
    file = os.path.realpath(function.__code__.co_filename)
    if function.__module__ == "__main__":
        function.__module__ = _names.get(file, "__main__")
    else:
        function.__module__ = _names.setdefault(file, function.__module__)


def begin(mutated: Mapping[str, str] | None, switch: str) -> Executions | None:
    """Readies a process to import a scenario's code; None where there are no mutants in it.

    ``mutated`` has the folder to be in (``cwd``) and the file to note executions in (``ran``).
    """
    if not mutated:
        return None
    os.chdir(mutated["cwd"])
    executions = Executions(Path(mutated["ran"]))
    install(executions)
    switch_to(switch)
    return executions


def switch_to(mutant: str) -> None:
    """Switches a mutant on, all others off; none of them with an empty name."""
    from mutmut.mutation.trampoline import set_mutant_under_test

    # Code under test that clears the environment must not switch the mutant off with it.
    set_mutant_under_test(mutant)
