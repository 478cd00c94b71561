"""A store of earlier verdicts on mutants, which stay valid while the function and its judges are unchanged.

Each verdict is a line, on disk before the next one, so that an interrupted run loses none. A test's failure is valid
while that test is selected and its file, and the helper files beside tests, are unchanged; a survival, while the same
tests are selected and unchanged; the training's verdict, while the scenario and its guards are unchanged. Changes of
other functions are assumed not to matter; `--again` discards all verdicts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

from faultlab.core import atomic_write, packages
from faultlab.core.report import INCONCLUSIVE, FaultResult, Status, dump
from faultlab.mutants.by_tests import KILLED, LOST, TestVerdict
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.workspace import walked

_SETTINGS = ("conftest.py", "pyproject.toml", "pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "tox.ini",
             "setup.cfg")  # fmt: skip
_PACKAGES = ("faultlab", "mutmut", "pytest", "torch", *packages.DISTRIBUTIONS)


@dataclass(frozen=True)
class Circumstances:
    """The circumstances that verdicts depend on: digests of the tests' files, and of the training's inputs.

    ``asked`` are the tests that judge, relative to the project's root, or empty for all. ``timeout`` is in seconds, or
    None if it is measured.
    """

    tests: Mapping[str, str]
    training: str
    asked: Sequence[str] = ()
    timeout: float | None = None

    def of_tests(self, verdict: TestVerdict) -> str:
        """Return a digest of the circumstances that a verdict of the tests depends on."""
        file = verdict.test.partition("::")[0]
        if verdict.outcome == KILLED and file in self.tests and self._asks(verdict.test):
            shared = {name: found for name, found in self.tests.items() if name == file or not _is_test(Path(name))}
            return digest(sorted(shared.items()))
        return digest([sorted(self.tests.items()), sorted(self.asked), self.timeout])

    def _asks(self, test: str) -> bool:
        return not self.asked or any(
            test == one or test.startswith((f"{one}::", f"{one}[", f"{one}/")) or one == "." for one in self.asked
        )


@dataclass
class Store:
    """The verdicts in a file, by the mutant's digest."""

    file: Path
    circumstances: Circumstances
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load(self) -> None:
        """Read the file, and skip lines that are not verdicts."""
        try:
            lines = self.file.read_text(encoding="utf-8").split("\n")
        except OSError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
                self._known.setdefault(str(entry.pop("mutant")), {}).update(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        # Written again, since the next line would be appended to a truncated one.
        text = "".join(dump({"mutant": key, **entry}) + "\n" for key, entry in self._known.items())
        atomic_write.write(self.file, text)

    def tests(self, mutant: Mutant) -> TestVerdict | None:
        """Return the tests' verdict if it is still valid."""
        try:
            verdict = TestVerdict(**self._known[_key(mutant)]["tests"])
            return verdict if self._known[_key(mutant)]["for_tests"] == self.circumstances.of_tests(verdict) else None
        except (KeyError, TypeError, AttributeError):
            return None

    def training(self, mutant: Mutant) -> FaultResult | None:
        """Return the training's verdict if it is still valid."""
        try:
            kept = self._known[_key(mutant)]
            if kept["for_training"] != self.circumstances.training:
                return None
            return FaultResult.from_json({**kept["training"], "id": mutant.name})
        except (KeyError, TypeError, ValueError):
            return None

    def heard_from_tests(self, mutant: Mutant, verdict: TestVerdict) -> None:
        """Store a verdict, unless it proves nothing."""
        if verdict.outcome != LOST:
            self._keep(mutant, {"tests": asdict(verdict), "for_tests": self.circumstances.of_tests(verdict)})

    def heard_from_training(self, mutant: Mutant, result: FaultResult) -> None:
        """Store a verdict, unless it proves nothing."""
        if result.status not in INCONCLUSIVE or result.status is Status.NOT_ACTIVATED:
            self._keep(mutant, {"training": result.to_json(), "for_training": self.circumstances.training})

    def _keep(self, mutant: Mutant, entry: Mapping[str, Any]) -> None:
        self._known.setdefault(_key(mutant), {}).update(entry)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(dump({"mutant": _key(mutant), **entry}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def asked_tests(root: Path, tests: Iterable[str]) -> list[str]:
    """Return pytest's arguments relative to the root, as `Circumstances` takes them."""
    parts = [test.partition("::") for test in tests]
    return [Path(os.path.relpath(file, root)).as_posix() + mark + one for file, mark, one in parts]


def test_files(root: Path, asked: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Return a digest for each of the project's files that tests consist of, which includes the packages' versions.

    ``asked`` are the tests that judge and ``files`` the project's files, both relative to the root.
    """
    named = [Path(test.partition("::")[0]) for test in asked]
    # Tests outside of the project, which its copy does not have.
    outside = [found for one in named if one.parts[:1] == ("..",) for found in _below(root, one)]
    found = {}
    for file in {*map(Path, files), *outside}:
        # Helpers and data are beside tests and may have any name.
        beside = "tests" in file.parts[:-1] or "test" in file.parts[:-1]
        beside = beside or (file.suffix == ".py" and any(map(file.is_relative_to, named)))
        if (_is_test(file) or file.name in _SETTINGS or beside) and (root / file).is_file():
            content = hashlib.sha256((root / file).read_bytes()).hexdigest()
            found[file.as_posix()] = digest([content, versions()])
    return found


def _is_test(file: Path) -> bool:
    return file.suffix == ".py" and (file.name.startswith("test_") or file.name.endswith("_test.py"))


def _below(root: Path, path: Path) -> list[Path]:
    whole = root / path
    return [path / file.relative_to(whole) for file in walked(whole)] if whole.is_dir() else [path]


def digest(parts: Any) -> str:
    """Return a short hash of plain data."""
    return hashlib.sha256(dump(parts).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of the packages that verdicts depend on, without importing them."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _key(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.mangled}:{mutant.digest}"
