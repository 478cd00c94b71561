"""The patients of the fourth round as cases: a folder holds the script, its cure and the truth about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.patients.blind.case import Case

FOLDERS = sorted(file.parent for file in Path(__file__).parent.glob("*/truth.yaml"))


def truth(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / "truth.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict), folder
    return found


def script(folder: Path, remedied: bool, seed: int = 0) -> str:
    """Return the ill or the remedied script with its one line that sets the seed changed to ``seed``."""
    text = (folder / ("fixed.py" if remedied else "train.py")).read_text(encoding="utf-8")
    line: str = truth(folder)["seed"]
    assert text.count(line.format(0)) == 1, (folder.name, line)
    return text.replace(line.format(0), line.format(seed))


def read(folder: Path) -> Case:
    known = truth(folder)
    return Case(
        folder.name,
        known["thread"],
        known["cause"],
        "{SCRIPT}",
        {"SCRIPT": (script(folder, False), script(folder, True))},
        known["accepted"]["cause"],
        known["accepted"]["remedy"],
        known["worse"],
    )
