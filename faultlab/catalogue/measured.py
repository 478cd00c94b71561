"""The measured reactions of stock Lightning to each failure mode, on the models of the tests' zoo.

``python -m tests.measure`` writes the table from runs, and the contract tests compare it with their own runs: how often
a fault goes undetected is measured, not declared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from faultlab.core import packages

FILE = Path(__file__).with_name("measured.json")
EFFECTS = ("raises", "warns", "silent", "no effect")


@dataclass(frozen=True)
class Table:
    """The measured versions and models, and for each failure mode its effect by model."""

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
        """Return the text of the file, with one line per failure mode to keep diffs readable."""
        modes = {
            mode: {model: found[model] for model in self.models if model in found} for mode, found in self.modes.items()
        }
        rows = ",\n".join(f"  {json.dumps(mode)}: {json.dumps(modes[mode])}" for mode in sorted(modes))
        versions, models = json.dumps(dict(self.versions)), json.dumps(self.models)
        return f'{{\n "versions": {versions},\n "models": {models},\n "modes": {{\n{rows}\n }}\n}}\n'


@lru_cache(maxsize=1)
def table() -> Table:
    """Return the published table."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    return Table(data["versions"], tuple(data["models"]), data["modes"])


def installed() -> str:
    """Return the installed version of Lightning, or an empty string if there is none."""
    for name in packages.DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return version(name)
    return ""
