"""A cell is one bug in one version, under one detector, with one seed: each runs in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.realbugs import registry
from benchmarks.realbugs.bug import Bug, Version, chosen
from benchmarks.realbugs.run import Outcome, Run, cpu_seconds

# What makes a script of its parts, for detectors that run scripts.
_ENTRY = """

if __name__ == "__main__":
    from benchmarks.realbugs.training import run, seed_all

    seed_all({seed})
    parts = build()
    run(__import__("__main__"), parts)
"""
TIME_LIMIT = 120.0
# The environment variable that names the folder of what the runs of a bug share.
SHARED = "REALBUGS_SHARED"


@dataclass(frozen=True)
class Cell:
    """What is run: names, so that it can be sent to the process of another environment."""

    bug: str
    version: Version
    detector: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_script(bug: Bug, version: Version, folder: Path, seed: int) -> Path:
    """Write a version's script into a folder and return the file."""
    file = folder / f"{version}_{bug.id.replace('-', '_')}.py"
    file.write_text(bug.script(version) + _ENTRY.format(seed=seed), encoding="utf-8")
    return file


def watch(cell: Cell, folder: Path) -> Outcome:
    """Run a cell in this process."""
    (bug,) = chosen([cell.bug])
    detector = registry.detectors()[cell.detector]
    file, baseline = (write_script(bug, version, folder, cell.seed) for version in (cell.version, "fixed"))
    began = cpu_seconds()
    outcome, apart = Outcome(), 0.0
    try:
        run = Run(file, baseline, folder, cell.seed, _shared(cell.bug))
        outcome = run.outcome
        detector.watch(run)
        apart = run.apart
        if cell.detector == "stock":
            outcome.measure = run.measure()
    except Exception as error:
        # Whether a training fails by itself, the check says; here the failure is the detector's.
        outcome.error = f"{type(error).__name__}: {error}"[:500]
        traceback.print_exc()
    outcome.seconds = cpu_seconds() - began - apart
    return outcome


def _shared(bug: str) -> Path | None:
    if SHARED not in os.environ:
        return None
    folder = Path(os.environ[SHARED]) / bug
    folder.mkdir(exist_ok=True)
    return folder


def in_child(cell: Cell, time_limit: float = TIME_LIMIT) -> Outcome:
    """Run a cell in a fork of this process, and end it at the time limit."""
    folder = Path(tempfile.mkdtemp(prefix="realbugs-"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            _silence(folder)
            os.chdir(folder)
            outcome = watch(cell, folder)
            with os.fdopen(writing, "w") as pipe:
                json.dump(outcome.to_json(), pipe)
        finally:
            # Whatever happens, the copy must not do the work of the original.
            os._exit(0)
    os.close(writing)
    text = _read(reading, time_limit)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    if text:
        return Outcome.from_json(json.loads(text))
    return Outcome(error=f"no result within {time_limit:g} s, or the process died")


def run_cells(cells: Iterable[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    """Run cells in turn, each in a process of its own."""
    for cell in cells:
        yield cell, in_child(cell)


def _read(pipe: int, time_limit: float) -> str:
    deadline, parts = time.monotonic() + time_limit, []
    with os.fdopen(pipe, "rb") as file:
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([file], [], [], left)
            if not ready:
                return ""
            part = os.read(file.fileno(), 65536)
            if not part:
                return b"".join(parts).decode()
            parts.append(part)
    return ""


def _silence(folder: Path) -> None:
    if os.environ.get("REALBUGS_LOUD"):
        return
    log = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
