"""Outcomes that are kept: a file of JSON lines for each detector, so that the page can be made again from them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.realbugs.bug import VERSIONS, Bug
from benchmarks.realbugs.cells import Cell
from benchmarks.realbugs.registry import Detector
from benchmarks.realbugs.run import Outcome

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).parent
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[\w.+-]+/)+")
"""The folders of an absolute path: they are another machine's to whoever reads the outcomes."""
_DEFAULTS = asdict(Outcome())


class Kept:
    """Outcomes by cell, in memory and in the files of a folder.

    An outcome is current only for the files that it was made with: the bug's, the detector's and faultlab's guards.

    Args:
        folder: The folder of the files, or None to keep outcomes in memory only.
        bugs: The bugs to keep outcomes of. Outcomes of others stay in the files.
        detectors: The detectors by name.

    Attributes:
        current: Outcomes that are made with the files as they are.
        outdated: Outcomes that were made with other files, of cells that have no current one.
    """

    def __init__(self, folder: Path | None, bugs: Sequence[Bug], detectors: Mapping[str, Detector]) -> None:
        self.current: dict[Cell, Outcome] = {}
        self.outdated: dict[Cell, Outcome] = {}
        self._folder, self._bugs, self._detectors = folder, {bug.id: bug for bug in bugs}, detectors
        self._digests: dict[tuple[str, str], str] = {}
        for file in sorted(folder.glob("*.jsonl")) if folder is not None else ():
            for line in file.read_text(encoding="utf-8").splitlines():
                self._take(json.loads(line))

    @property
    def all(self) -> dict[Cell, Outcome]:
        """Current and outdated outcomes."""
        return {**self.outdated, **self.current}

    def keep(self, cell: Cell, outcome: Outcome) -> None:
        """Add a current outcome, and write it at once: a harvest may be interrupted."""
        self.outdated.pop(cell, None)
        self.current[cell] = outcome
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file(cell.detector).open("a", encoding="utf-8") as file:
                file.write(self._line(cell, outcome) + "\n")

    def tidy(self) -> None:
        """Rewrite the files: the last outcome of each cell, in an order that makes changes easy to read."""
        if self._folder is None:
            return
        for detector in {cell.detector for cell in self.current}:
            file, lines = self._file(detector), {}
            for line in file.read_text(encoding="utf-8").splitlines():
                content = json.loads(line)
                lines[content["bug"], content["seed"], VERSIONS.index(content["version"])] = line
            file.write_text("".join(lines[key] + "\n" for key in sorted(lines)), encoding="utf-8")

    def _file(self, detector: str) -> Path:
        assert self._folder is not None
        return self._folder / (re.sub(r"[^a-z0-9]+", "-", detector.lower()).strip("-") + ".jsonl")

    def _line(self, cell: Cell, outcome: Outcome) -> str:
        told = {key: value for key, value in outcome.to_json().items() if value != _DEFAULTS[key]}
        content = {**cell.to_json(), "made_with": self._digest(cell), "outcome": _portable(told)}
        return json.dumps(content, sort_keys=True)

    def _take(self, content: dict[str, Any]) -> None:
        cell = Cell(content["bug"], content["version"], content["detector"], content["seed"])
        if cell.bug not in self._bugs or cell.detector not in self._detectors:
            return
        for known in (self.current, self.outdated):
            known.pop(cell, None)
        made = self.current if content["made_with"] == self._digest(cell) else self.outdated
        made[cell] = Outcome.from_json({**_DEFAULTS, **content["outcome"]})

    def _digest(self, cell: Cell) -> str:
        key = (cell.bug, cell.detector)
        if key not in self._digests:
            detector = self._detectors[cell.detector]
            files = [_HERE / "training.py", _HERE / "material.py", Path(detector.watch.__code__.co_filename)]
            if detector.group == "faultlab":
                files += sorted((ROOT / "faultlab" / "guards").rglob("*.py"))
            scripts = [self._bugs[cell.bug].script(version) for version in VERSIONS]
            used = [name for name in ("tables", "ranks") if any(f"realbugs.{name}" in script for script in scripts)]
            files += [_HERE / f"{name}.py" for name in used]
            texts = [file.read_bytes() for file in files] + [script.encode() for script in scripts]
            self._digests[key] = hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]
        return self._digests[key]


def _portable(value: Any) -> Any:
    """Return an outcome without this machine's folders, and with numbers to six digits after the point."""
    if isinstance(value, dict):
        return {key: _portable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_portable(one) for one in value]
    if isinstance(value, str):
        return _FOLDERS.sub("", value)
    return round(value, 6) if isinstance(value, float) else value
