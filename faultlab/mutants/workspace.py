"""The scratch copy of a project that has the mutants: the user's own tree is never written to."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faultlab.core import packages
from faultlab.core.report import dump
from faultlab.errors import UsageError

_LEFT_OUT = {".git", ".hg", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
_LEFT_OUT |= {"__pycache__", "node_modules", "build", "dist", "reports", *packages.OUTPUT_FOLDERS}
_MOST_BYTES = 2 << 30
_MUTMUT_TABLE = re.compile(r"^\[tool\.mutmut\b.*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
_PYTEST_SETTINGS = (
    ("pyproject.toml", re.compile(r"^\[tool\.pytest(\.ini_options)?\]", re.MULTILINE)),
    ("tox.ini", re.compile(r"^\[pytest\]", re.MULTILINE)),
    ("setup.cfg", re.compile(r"^\[tool:pytest\]", re.MULTILINE)),
)


@dataclass(frozen=True)
class Workspace:
    """The scratch copy: ``folder`` has the files to mutate, as mutmut needs them, and ``tree`` the mutated project.

    ``mutmut results`` and ``mutmut show`` work in the folder, and in the tree a mutant can be run by hand.
    """

    root: Path
    folder: Path

    @property
    def tree(self) -> Path:
        """The folder of the project's files with the mutants."""
        return self.folder / "mutants"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the workspace's lock, so that a second process can't replace the copy while tests run in it.

        Raises:
            UsageError: Another process holds the lock, or the folder can't be written to.
        """
        import fcntl

        where = self.folder.parent
        with contextlib.ExitStack() as held:
            try:
                where.mkdir(parents=True, exist_ok=True)
                fcntl.flock(held.enter_context((where / "lock").open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said = f"another process mutates in {where}: wait for it, or name another folder with --out"
                raise UsageError(said) from None
            except OSError as error:
                raise UsageError(f"{where}: {error.strerror}: name a writable folder with --out") from None
            yield

    def make(self, sources: Sequence[str], also_copy: Iterable[str] = ()) -> None:
        """Replace the copy with a new one. Paths are relative to the root.

        Args:
            sources: The files to mutate.
            also_copy: Files and folders to copy although git ignores them.

        Raises:
            UsageError: The copy would be too large, or a file can't be read.
        """
        try:
            self._make(sources, also_copy)
        except OSError as error:
            raise UsageError(
                f"{self.root} can't be copied to {self.folder}: {error}. Make it readable, or have git ignore it"
            ) from None

    def _make(self, sources: Sequence[str], also_copy: Iterable[str]) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.tree.mkdir(parents=True)
        # Otherwise git lists it, and the next copy would include it.
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        files = list(dict.fromkeys([*self._known(), *self.extra(also_copy), *sources]))
        size = sum((self.root / file).stat().st_size for file in files)
        if size > _MOST_BYTES:
            largest = max(files, key=lambda file: (self.root / file).stat().st_size)
            raise UsageError(
                f"{self.root}: a copy to mutate would take {size >> 20} MiB (the largest file is {largest}). Have git "
                "ignore what tests do not need, and name what they need under `mutants: {also_copy: [...]}`"
            )
        # Links to folders last, once their targets exist.
        for file in sorted(files, key=lambda file: (self.root / file).is_dir()):
            self._copy(file, self.tree)
        for source in sources:
            self._copy(source, self.folder)
            content = (self.folder / source).read_bytes()
            if content.startswith(codecs.BOM_UTF8):
                (self.folder / source).write_bytes(content.removeprefix(codecs.BOM_UTF8))
        settings = f"[tool.mutmut]\nsource_paths = {dump(list(sources))}\n"
        own = self.folder / "pyproject.toml"
        own.write_text(settings, encoding="utf-8")
        self._settle_pytest()

    def relative(self, path: Path) -> str:
        """Return a path relative to the project's root.

        Raises:
            UsageError: The path is outside of the project.
        """
        try:
            return path.resolve().relative_to(self.root).as_posix()
        except ValueError:
            raise UsageError(f"{path} is outside of the project {self.root}, whose copy is mutated") from None

    def moved(self, path: str) -> str:
        """Return the same path within the tree; a path outside of the project unchanged."""
        found = Path(path).resolve()
        return str(self.tree / found.relative_to(self.root)) if found.is_relative_to(self.root) else path

    def path(self, sources: Iterable[str]) -> list[str]:
        """Return the folders to put first on the module search path, so that the tree's modules are imported."""
        found = {str(self.tree): None}
        for name in ("src", "source"):
            if (self.tree / name).is_dir():
                found[str(self.tree / name)] = None
        for source in sources:
            folder = (self.tree / source).parent
            if (folder / "__init__.py").exists():
                while (folder / "__init__.py").exists():
                    folder = folder.parent
                found[str(folder)] = None
        # The folders of an editable install of the project.
        for entry in sys.path[1:]:
            if (moved := self.moved(entry)) != entry and Path(moved).is_dir():
                found[moved] = None
        return list(found)

    def _copy(self, file: str, where: Path) -> None:
        target = where / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if (self.root / file).is_dir():
            own, copied = (self.root / file).resolve(), Path(self.moved(str(self.root / file)))
            target.symlink_to(copied if copied.exists() else own)
        else:
            shutil.copy2(self.root / file, target)
            # mutmut writes to the copy, even if the original is read-only.
            target.chmod(target.stat().st_mode | stat.S_IWUSR)

    def _known(self) -> list[str]:
        """Return the files that git does not ignore; without git, all files except those that tools leave behind."""
        # For a folder that git ignores as a whole, it lists nothing.
        files = list(self._listed(self.root)) or list(self._within(self.root))
        here = os.path.relpath(self.folder, self.root) + os.sep
        return [name for name in files if (self.root / name).exists() and not name.startswith(here)]

    def _listed(self, folder: Path) -> Iterator[str]:
        """Yield the files that git lists in a folder and in the repositories within, relative to the root."""
        for name in _git_files(folder, "--cached", "--others"):
            found = folder / name
            if found.is_symlink() or not found.is_dir():
                yield found.relative_to(self.root).as_posix()
            elif (found / ".git").exists():
                yield from self._listed(found)

    def left_behind(self) -> list[str]:
        """Return the project's files that git ignores and the copy lacks, except those that tools leave behind."""
        return [
            name
            for name in _git_files(self.root, "--others", "--ignored", "--directory")
            if not (self.tree / name).exists()
            and not any(part in _LEFT_OUT or part.endswith(".egg-info") for part in Path(name).parts)
            and not (self.root / name / "pyvenv.cfg").exists()
            and (self.root / name).resolve() not in [self.folder, *self.folder.parents]
        ]

    def extra(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield the files at these paths, relative to the root.

        Raises:
            UsageError: A path does not exist or is outside of the project.
        """
        for path in paths:
            # Links are not followed: a link to data elsewhere is part of the project.
            found = Path(os.path.normpath(self.root / path))
            if not found.is_relative_to(self.root):
                raise UsageError(f"{found} is outside of the project {self.root}: tests find it there without a copy")
            if found.is_dir() and not found.is_symlink():
                yield from self._within(found)
            elif found.exists():
                yield found.relative_to(self.root).as_posix()
            else:
                raise UsageError(f"{found}: no such file or folder to copy")

    def _within(self, folder: Path) -> Iterator[str]:
        for file in walked(folder, self.folder):
            yield file.relative_to(self.root).as_posix()

    def _settle_pytest(self) -> None:
        """Keep pytest from using settings above the copy, and mutmut from finding its settings twice."""
        pyproject = self.tree / "pyproject.toml"
        if pyproject.exists():
            text = pyproject.read_text(encoding="utf-8")
            pyproject.write_text(_MUTMUT_TABLE.sub("", text), encoding="utf-8")
        names = [self.tree / name for name in ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml")]
        says = any((self.tree / name).exists() and mark.search((self.tree / name).read_text(encoding="utf-8"))
                   for name, mark in _PYTEST_SETTINGS)  # fmt: skip
        if not says and not any(name.exists() for name in names):
            (self.tree / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")


def _git_files(folder: Path, *which: str) -> list[str]:
    """Return the files that git lists there, relative to the folder; none without git."""
    try:
        listing = ["git", "ls-files", "-z", "--exclude-standard", *which]
        made = subprocess.run(listing, cwd=folder, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in os.fsdecode(made.stdout).split("\0") if name]


def walked(folder: Path, but: Path | None = None) -> Iterator[Path]:
    """Yield the files in a folder and links to folders, without environments, what tools leave behind, and ``but``."""
    for where, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _LEFT_OUT
            and not name.endswith(".egg-info")
            and not (Path(where) / name / "pyvenv.cfg").exists()
            and Path(where) / name != but
            # Another workspace; the folder of reports may have any name.
            and (Path(where).name, name) != ("mutants", "work")
        ]
        found = (Path(where) / name for name in names if (Path(where) / name).is_file())
        yield from (*found, *(Path(where) / name for name in folders if (Path(where) / name).is_symlink()))
