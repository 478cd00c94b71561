"""The selection of mutants: by file, by function, and by changes since a commit."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faultlab.config.scenario import Component, Scenario
from faultlab.config.source_lookup import file_of
from faultlab.core import git
from faultlab.errors import UsageError
from faultlab.mutants.location import beyond_reach, functions_of
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.workspace import walked

_SCRIPTS = ("faultlab.targets.script.", "faultlab.targets.loop_script.")
JUDGES_MARK = "# faultlab: runs around each test while a mutant is on"
"""A line in those files of faultlab that run around a test, or end the copy that has the mutant."""


@dataclass(frozen=True)
class Built:
    """The classes that a scenario's ``build`` uses, which its class path does not name.

    ``files`` are those of the module's and the data's classes, ``guards`` the files and names of guards' classes. Paths
    are absolute.
    """

    files: Sequence[str] = ()
    guards: Sequence[tuple[str, str]] = ()

    def own(self, root: Path) -> list[str]:
        """Return the target's files that belong to the project, relative to its root."""
        return list(dict.fromkeys(name for file in self.files if (name := _within(file, root))))


def sources_of(scenario: Scenario, root: Path, built: Built) -> list[str]:
    """Return the project's files that define the training's code and its guards, relative to its root.

    Raises:
        ScenarioError: There are none.
    """
    found: dict[str, None] = {}
    for path in _paths(scenario):
        if file := file_of(path, root):
            found[file] = None
    found |= dict.fromkeys([*_scripts(scenario, root), *built.own(root)])
    found |= dict.fromkeys(code.file for code in guards_code(scenario, root, built))
    if not found:
        remedy = "Name the files to mutate: mutants: {paths: [src/package/model.py]}."
        raise scenario.problem((), f"none of the scenario's code is in the project {root}", remedy)
    return list(found)


@dataclass(frozen=True)
class GuardCode:
    """The place of a guard's code: a file of the project, and a glob over its functions' dotted names."""

    file: str
    functions: str = "*"

    def holds(self, mutant: Mutant) -> bool:
        return mutant.file == self.file and fnmatch.fnmatchcase(mutant.function, self.functions)

    def digests(self, root: Path) -> list[str]:
        """Return texts that change only with the code."""
        source = (root / self.file).read_text(encoding="utf-8-sig")
        if self.functions == "*":
            return [source]
        return [f.digest for f in functions_of(source) if fnmatch.fnmatchcase(f.name, self.functions)]


def _paths(scenario: Scenario) -> list[str]:
    """Return the class paths of what trains and evaluates, as far as the scenario names it."""
    parts = (scenario.module, scenario.build, scenario.data, scenario.train, scenario.evaluate)
    found = [part.class_path for part in parts if isinstance(part, Component)]
    # A training step may be the method of a class.
    return [*found, *([scenario.step, scenario.step.rpartition(".")[0]] if scenario.step else [])]


def _scripts(scenario: Scenario, root: Path) -> list[str]:
    """Return the project's training scripts that the scenario runs."""
    named = [
        str(component.init_args.get("script", ""))
        for component in (scenario.module, scenario.build, scenario.train)
        if component is not None and component.class_path.startswith(_SCRIPTS)
    ]
    places = [next((f for folder in (Path.cwd(), root) if (f := folder / name).is_file()), None) for name in named]
    return [name for place in places if place is not None and (name := _within(str(place), root))]


def _within(file: str, root: Path) -> str:
    """Return a file's path relative to the project's root; empty if it does not belong to the project."""
    found = Path(file).resolve()
    ours = found.is_relative_to(Path(__file__).resolve().parents[1])
    own = found.is_relative_to(root) and "site-packages" not in found.parts and found.suffix == ".py"
    return found.relative_to(root).as_posix() if own and not ours else ""


def guards_code(scenario: Scenario, root: Path, built: Built) -> list[GuardCode]:
    """Return the project's code that only observes: files of guards, and guards' classes in the target's files."""
    others = _paths(scenario)
    theirs = {*(file_of(path, root) for path in others), *_scripts(scenario, root), *built.own(root)}
    found: dict[GuardCode, None] = {}
    for file, name in built.guards:
        if own := _within(file, root):
            found[GuardCode(own, f"{name}.*") if own in theirs else GuardCode(own)] = None
    for path in [guard.class_path for guard in scenario.guards if guard.class_path]:
        if (file := file_of(path, root)) and path not in others:
            shared = file in theirs
            found[GuardCode(file, f"{path.rpartition('.')[2]}.*") if shared else GuardCode(file)] = None
    return list(found)


def files_at(paths: Iterable[Path]) -> list[Path]:
    """Return the Python files at the paths, without the tests in folders.

    Raises:
        UsageError: A path has no Python file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file() and path.suffix == ".py":
            found.append(path)
        elif path.is_dir():
            python = [file for file in sorted(walked(path)) if file.suffix == ".py"]
            inside = [file for file in python if not _is_test(file.relative_to(path))]
            if not inside:
                raise UsageError(f"{path}: no Python file in this folder to mutate")
            found += inside
        else:
            raise UsageError(f"{path}: no such Python file or folder")
    return list(dict.fromkeys(found))


def check_judges(sources: Iterable[str], root: Path) -> None:
    """Raise UsageError if a source runs around tests: mutated, it would kill mutants that no test detects, or none."""
    found = [
        source for source in sources if JUDGES_MARK in (root / source).read_text(encoding="utf-8-sig").splitlines()
    ]
    if found:
        remedy = "Name other files to mutate: a test can't judge the code that runs around it."
        raise UsageError(f"{', '.join(found)}: it runs around each test while a mutant is on\n    {remedy}")


def changed_since(ref: str, root: Path, sources: Iterable[str]) -> dict[str, set[str]]:
    """Return the functions of each source that have changed since a commit.

    Raises:
        UsageError: git does not know the commit.
    """
    git.check_commit(ref, root)
    changed: dict[str, set[str]] = {}
    for source in sources:
        now = _digests((root / source).read_text(encoding="utf-8-sig"))
        before = git.ask(root, "show", f"{ref}:./{source}")
        try:
            then = _digests((before or "").removeprefix("\ufeff").replace("\r\n", "\n"))
        except (SyntaxError, ValueError):
            then = {}
        changed[source] = {name for name, digests in now.items() if then.get(name) != digests}
    return changed


def chosen(mutants: Iterable[Mutant], functions: Sequence[str], changed: dict[str, set[str]] | None) -> list[Mutant]:
    """Return the mutants whose functions match a glob and, if ``changed`` is given, have changed."""
    return [mutant for mutant in mutants if is_chosen(mutant.file, mutant.function, functions, changed)]


def is_chosen(file: str, function: str, functions: Sequence[str], changed: dict[str, set[str]] | None) -> bool:
    """Return whether a function's dotted name matches a glob and, if ``changed`` is given, it has changed."""
    asked = any(fnmatch.fnmatchcase(function, glob) for glob in functions)
    return asked and (changed is None or function in changed.get(file, ()))


def _digests(source: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for function in [*functions_of(source), *(function for function, _ in beyond_reach(source))]:
        found.setdefault(function.name, []).append(function.digest)
    return found


def _is_test(file: Path) -> bool:
    named = file.name.startswith("test_") or file.name.endswith("_test.py") or file.name == "conftest.py"
    return named or "tests" in file.parts[:-1]
