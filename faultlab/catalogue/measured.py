"""The measured reactions of each framework to each failure mode, on small models of the tests.

``python -m tests.measure`` writes a framework's table from runs, and the contract tests compare it with their own runs:
how often a fault goes undetected is measured, not declared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from faultlab.core import framework_names, packages

FILE = Path(__file__).with_name("measured.json")
EFFECTS = ("raises", "warns", "silent", "no effect")


@dataclass(frozen=True)
class Table:
    """A framework's measured versions and models, and for each failure mode its effect by model.

    A failure mode without an effect was tried and applies to none of the models. An effect may be on another model,
    which was tried only with the failure modes that apply to none of these.
    """

    versions: Mapping[str, str]
    models: tuple[str, ...]
    modes: Mapping[str, Mapping[str, str]]

    def effects(self, mode: str) -> dict[str, list[str]]:
        """Return the models by effect, the most frequent effect first; empty if the mode was not measured."""
        found = self.modes.get(mode, {})
        grouped = {effect: [model for model in found if found[model] == effect] for effect in EFFECTS}
        return {
            effect: grouped[effect] for effect in sorted(EFFECTS, key=lambda e: -len(grouped[e])) if grouped[effect]
        }

    def to_text(self) -> str:
        """Return the text of its section of the file, with one line per failure mode to keep diffs readable."""
        modes = {
            mode: {model: found[model] for model in dict.fromkeys((*self.models, *found)) if model in found}
            for mode, found in self.modes.items()
        }
        rows = ",\n".join(f"   {json.dumps(mode)}: {json.dumps(modes[mode])}" for mode in sorted(modes))
        versions, models = json.dumps(dict(self.versions)), json.dumps(self.models)
        return f'{{\n  "versions": {versions},\n  "models": {models},\n  "modes": {{\n{rows}\n  }}\n }}'


@lru_cache(maxsize=1)
def tables() -> dict[str, Table]:
    """Return the published table of each measured framework by its name."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: Table(part["versions"], tuple(part["models"]), part["modes"]) for name, part in data.items()}


def table(framework: str = framework_names.DEFAULT) -> Table:
    """Return a framework's published table; an empty one if it was not measured."""
    return tables().get(framework) or Table({}, (), {})


def to_text(tables: Mapping[str, Table]) -> str:
    """Return the text of the file with a section per framework."""
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {tables[name].to_text()}" for name in sorted(tables)) + "\n}\n"


def inapplicable(mode: str, framework: str) -> bool:
    """Return whether the failure mode was tried in the framework and applies to none of its models."""
    return table(framework).modes.get(mode) == {}


def installed(framework: str = framework_names.DEFAULT) -> str:
    """Return the installed version of a framework; empty if there is none, or the framework is not faultlab's own."""
    for name in {framework_names.DEFAULT: packages.DISTRIBUTIONS, "torch": ("torch",)}.get(framework, ()):
        with suppress(PackageNotFoundError):
            # Without the part that names a build, for the CPU or a GPU, of the same release.
            return version(name).partition("+")[0]
    return ""
