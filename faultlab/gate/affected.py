"""Changes since a commit that affect a scenario: in its file, its code, its tests, or its project's settings.

Its code is everything that its class paths and tests import, read from the source without importing it. A file that
imports by a name that is computed at run time is assumed to need every Python file of the project. Files other than
Python count if they lie beside that code or if the scenario names them. Changes of installed packages and of data
elsewhere are not found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from faultlab.config.scenario import Scenario, project_root
from faultlab.core import git

_SETTINGS = re.compile(
    r"pyproject\.toml|setup\.(py|cfg)|tox\.ini|pytest\.ini|conftest\.py|poetry\.lock|uv\.lock|pixi\.lock"
    r"|(requirements|constraints)[^/]*\.(txt|in)|environment\.ya?ml|\.python-version"
)
_DYNAMIC = re.compile(r"\b(import_module|__import__|exec|runpy)\b")
_PROSE = (".md", ".rst")


def since(ref: str, scenario: Scenario) -> str:
    """Return a file that affects the scenario and changed since the commit, relative to its project; empty if none.

    Untracked files count. Raises UsageError if git fails.
    """
    root = project_root(scenario.file).resolve()
    found = touching(scenario, root, _changed(ref, root))
    return "" if found is None else (found.relative_to(root) if found.is_relative_to(root) else found).as_posix()


def touching(scenario: Scenario, root: Path, changed: Iterable[Path]) -> Path | None:
    """Return the first of the changed files (absolute paths) that affects the scenario."""
    files = sorted(changed)
    rests_on = _Rests(scenario, root, frozenset(files))
    return next((file for file in files if rests_on.on(file)), None)


@lru_cache
def _changed(ref: str, root: Path) -> frozenset[Path]:
    return frozenset(git.changed_files(ref, root))


class _Rests:
    """The files that affect a scenario. Deleted files are found among the changed ones."""

    def __init__(self, scenario: Scenario, root: Path, changed: frozenset[Path]) -> None:
        self._root = root
        self._changed = changed
        self._folders = list(dict.fromkeys([Path.cwd().resolve(), root, root / "src"]))
        self._any_python = False
        self._named = [scenario.file.resolve()]
        self._code: set[Path] = set()
        self._follow(scenario)

    def on(self, file: Path) -> bool:
        if file in self._code or any(file == named or file.is_relative_to(named) for named in self._named):
            return True
        if file.suffix == ".py" and self._any_python and file.is_relative_to(self._root):
            return True
        if _SETTINGS.fullmatch(file.name) and self._above_code(file.parent):
            return True
        if file.suffix in (".py", ".pyi", ".yaml", ".yml", *_PROSE):
            return False
        return any(file.parent == code.parent for code in self._code)

    def _above_code(self, folder: Path) -> bool:
        return any(code.is_relative_to(folder) for code in [*self._code, *self._named])

    def _follow(self, scenario: Scenario) -> None:
        modules, texts = _said(scenario.model_dump(exclude={"gate", "faults"}))
        left = [file for module in modules for file in self._files_of(module)]
        for text in [*texts, *(entry.partition("::")[0] for entry in scenario.tests)]:
            for folder in (*self._folders, scenario.file.resolve().parent):
                place = folder / text
                if text and (place.exists() or place in self._changed) and place not in self._folders:
                    self._named.append(place.resolve())
        # Each file in a folder of tests has imports of its own.
        for place in self._named[1:]:
            left += [place] if place.suffix == ".py" else sorted(place.rglob("*.py")) if place.is_dir() else []
        while left:
            file = left.pop()
            if file not in self._code:
                self._code.add(file)
                left += self._imported_by(file)

    def _imported_by(self, file: Path) -> Iterator[Path]:
        try:
            source = file.read_text(encoding="utf-8-sig")
            tree = ast.parse(source)
        except (OSError, SyntaxError, ValueError, RecursionError):
            return
        self._any_python = self._any_python or bool(_DYNAMIC.search(source))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._files_of(alias.name)
            elif isinstance(node, ast.ImportFrom):
                folders = [file.parents[node.level - 1]] if 0 < node.level <= len(file.parents) else []
                for name in ("", *(alias.name for alias in node.names)):
                    module = ".".join(filter(None, (node.module, name)))
                    yield from self._files_of(module, folders or [*self._folders, file.parent])

    def _files_of(self, module: str, folders: Iterable[Path] = ()) -> Iterator[Path]:
        """Yield the file of a module and of each of its parent packages, without installed ones."""
        for folder in folders or self._folders:
            base = folder
            yield from self._real([base / "__init__.py"] if folders and not module else [])
            for part in filter(None, module.split(".")):
                base = base / part
                yield from self._real([base.with_suffix(".py"), base / "__init__.py"])

    def _real(self, files: Iterable[Path]) -> Iterator[Path]:
        for file in files:
            resolved = file.resolve()
            if (resolved in self._changed or resolved.is_file()) and "site-packages" not in resolved.parts:
                yield resolved


def _said(data: Any) -> tuple[list[str], list[str]]:
    """Return the modules of all class paths in a scenario, and all other strings, which may be paths."""
    modules: list[str] = []
    texts: list[str] = []
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "class_path" and isinstance(value, str):
                modules.append(value)
            else:
                more = _said(value)
                modules += more[0]
                texts += more[1]
    elif isinstance(data, (list, tuple)):
        for value in data:
            more = _said(value)
            modules += more[0]
            texts += more[1]
    elif isinstance(data, str) and "\0" not in data and len(data) < 1000:
        texts.append(data)
    return modules, texts
