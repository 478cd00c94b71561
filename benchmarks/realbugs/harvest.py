"""All cells, run by the workers of the environments; outcomes are kept in a file, to continue a harvest."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.realbugs.bug import VERSIONS, Bug
from benchmarks.realbugs.cells import SHARED, Cell
from benchmarks.realbugs.registry import Detector
from benchmarks.realbugs.run import Outcome

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).parent


def cells(bugs: Iterable[Bug], detectors: Iterable[Detector], seeds: int) -> list[Cell]:
    """Return every cell, seed by seed, so that an interrupted harvest has whole seeds."""
    every = list(bugs)
    pairs = [
        (bug, detector)
        for detector in detectors
        for bug in (sample(every, detector.nightly) if detector.nightly else every)
        if detector.applies(bug.framework)
    ]
    return [
        Cell(bug.id, version, detector.name, seed)
        for seed in range(seeds)
        for bug, detector in pairs
        if seed < detector.seeds(seeds)
        for version in VERSIONS
    ]


def sample(bugs: Sequence[Bug], size: int) -> list[Bug]:
    """Return so many of the bugs, chosen by the hash of their ids, for detectors that can't be run on all."""
    return sorted(bugs, key=lambda bug: hashlib.sha256(f"sample {bug.id}".encode()).hexdigest())[:size]


class Harvest:
    """Outcomes by cell, in memory and in a file of JSON lines.

    An outcome counts only for the files that it was made with: the bug's, the detector's and faultlab's guards.
    """

    def __init__(self, file: Path, bugs: Sequence[Bug], detectors: dict[str, Detector]) -> None:
        self.file, self.outcomes = file, {}  # type: Path, dict[Cell, Outcome]
        self._bugs, self._detectors = {bug.id: bug for bug in bugs}, detectors
        self._lock = threading.Lock()
        self._digests: dict[tuple[str, ...], str] = {}
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                self._take(json.loads(line))

    def run(self, wanted: Iterable[Cell], pythons: dict[str, str], jobs: int) -> None:
        """Run the cells that have no outcome yet, with a worker of each environment in each of the jobs."""
        waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in wanted:
            if cell not in self.outcomes:
                waiting.put(cell)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="realbugs-") as shared, ThreadPoolExecutor(jobs) as pool:
            for job in [pool.submit(self._work, waiting, pythons, shared) for _ in range(jobs)]:
                job.result()

    def _work(self, waiting: queue.SimpleQueue[Cell], pythons: dict[str, str], shared: str) -> None:
        workers: dict[str, subprocess.Popen[str]] = {}
        while True:
            try:
                cell = waiting.get_nowait()
            except queue.Empty:
                break
            # The public tools are imported in a process of their own, even if one environment has everything.
            name = self._detectors[cell.detector].environment
            worker = workers.get(name) or workers.setdefault(name, _start(pythons[name], shared))
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(json.dumps(cell.to_json()) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"the worker of {pythons[name]} ended with exit code {worker.wait()}")
            self._keep(cell, Outcome.from_json(json.loads(line)))
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait()

    def _keep(self, cell: Cell, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes[cell] = outcome
            content = {**cell.to_json(), "made_with": self._digest(cell), "outcome": outcome.to_json()}
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")
            if sys.stderr.isatty():
                print(f"\r{len(self.outcomes)} runs ", end="", file=sys.stderr, flush=True)

    def _take(self, content: dict[str, Any]) -> None:
        cell = Cell(content["bug"], content["version"], content["detector"], content["seed"])
        known = cell.bug in self._bugs and cell.detector in self._detectors
        if known and content["made_with"] == self._digest(cell):
            self.outcomes[cell] = Outcome.from_json(content["outcome"])

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


def _start(python: str, shared: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        SHARED: shared,
    }
    return subprocess.Popen(
        [python, "-m", "benchmarks.realbugs.worker"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
