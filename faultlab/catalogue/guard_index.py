"""The ready-made guards, read from their source without importing Lightning, and their measurements."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "guards"
MEASURED = PACKAGE / "measured.json"
RECORD = "profile"
"""The argument of a guard that compares with recorded runs: the path of the record."""


@dataclass(frozen=True)
class Described:
    """A guard as its source describes it.

    ``checks`` has a sentence for each check; an ``optional`` guard is used only on request. One with a ``record``
    compares with recorded runs, and can't be constructed without them.
    """

    name: str
    file: str
    level: str
    optional: bool
    checks: Mapping[str, str]
    doc: str
    record: bool = False

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring."""
        return self.doc.partition("\n\n")[0].replace("\n", " ")


@dataclass(frozen=True)
class Measured:
    """The measurements of a guard.

    ``costs`` are fractions of the training time by scenario, ``latency`` is the median in steps, and ``single_latency``
    the median for faults of a single step. ``detects`` has the scenarios by failure mode. The guard raised an alarm in
    ``alarms`` of ``runs`` clean runs.
    """

    costs: Mapping[str, float]
    latency: float | None
    single_latency: float | None
    detects: Mapping[str, list[str]]
    alarms: int
    runs: int


@lru_cache(maxsize=1)
def guards() -> dict[str, Described]:
    """Return every ready-made guard by its name."""
    found = [guard for file in sorted(PACKAGE.glob("*.py")) for guard in _in_file(file)]
    return {guard.name: guard for guard in sorted(found, key=lambda guard: guard.name)}


@lru_cache(maxsize=1)
def measured() -> dict[str, Measured]:
    """Return the measurements of each guard by its name; empty if nothing was measured."""
    if not MEASURED.is_file():
        return {}
    data = json.loads(MEASURED.read_text(encoding="utf-8"))
    return {name: Measured(**found) for name, found in data["guards"].items()}


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions that were measured."""
    return dict(json.loads(MEASURED.read_text(encoding="utf-8"))["versions"]) if MEASURED.is_file() else {}


def needs_record(guard: str) -> bool:
    """Return whether a guard, by class path, compares with recorded runs."""
    package, _, name = guard.rpartition(".")
    return package == "faultlab.guards" and name in guards() and guards()[name].record


def detecting(mode: str) -> list[str]:
    """Return the guards that detected a failure mode in some scenario."""
    return [name for name, found in measured().items() if mode in found.detects]


def _in_file(file: Path) -> Iterator[Described]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id == "Guard" for base in node.bases
        ):
            fields = dict(_literals(node))
            yield Described(
                node.name,
                str(file),
                str(fields.get("level", "cheap")),
                bool(fields.get("optional", False)),
                dict(fields.get("checks", {})),  # type: ignore[call-overload]
                _with_lists(ast.get_docstring(node) or ""),
                _takes(node, RECORD),
            )


def _takes(node: ast.ClassDef, argument: str) -> bool:
    """Return whether the constructor of a class has an argument of this name."""
    inits = [part.args for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    return any(one.arg == argument for args in inits for one in [*args.args, *args.kwonlyargs])


def _with_lists(docstring: str) -> str:
    """Return a docstring with its sections of arguments and exceptions as Markdown lists."""

    def listed(section: re.Match[str]) -> str:
        entries = re.sub(r"^    (\w+): ", r"- ``\1``: ", section[2], flags=re.MULTILINE)
        return f"{section[1]}:\n\n{entries.replace('        ', '  ')}"

    return re.sub(r"^(Args|Raises):\n((?:    .*\n?)+)", listed, docstring, flags=re.MULTILINE)


def _literals(node: ast.ClassDef) -> Iterator[tuple[str, object]]:
    for part in node.body:
        target = (
            part.targets[0]
            if isinstance(part, ast.Assign)
            else part.target
            if isinstance(part, ast.AnnAssign)
            else None
        )
        value = getattr(part, "value", None)
        if isinstance(target, ast.Name) and target.id in ("level", "optional", "checks") and value is not None:
            yield target.id, ast.literal_eval(value)
