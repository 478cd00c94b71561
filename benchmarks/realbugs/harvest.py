"""All cells, run by the workers of the environments."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.realbugs.bug import VERSIONS, Bug
from benchmarks.realbugs.cells import SHARED, Cell
from benchmarks.realbugs.outcomes import ROOT, Kept
from benchmarks.realbugs.registry import Detector
from benchmarks.realbugs.run import Outcome


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
    """Runs cells and keeps their outcomes."""

    def __init__(self, kept: Kept, detectors: Mapping[str, Detector]) -> None:
        self.kept, self._detectors = kept, detectors
        self._lock = threading.Lock()

    def run(self, wanted: Iterable[Cell], pythons: dict[str, str], jobs: int) -> None:
        """Run the cells, with a worker of each environment in each of the jobs."""
        waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in wanted:
            waiting.put(cell)
        with tempfile.TemporaryDirectory(prefix="realbugs-") as shared, ThreadPoolExecutor(jobs) as pool:
            for job in [pool.submit(self._work, waiting, pythons, shared) for _ in range(jobs)]:
                job.result()
        self.kept.tidy()

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
            self.kept.keep(cell, outcome)
            if sys.stderr.isatty():
                print(f"\r{len(self.kept.current)} runs ", end="", file=sys.stderr, flush=True)


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
