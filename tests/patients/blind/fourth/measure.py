"""Measure on three seeds that each ill training of the round is worse than its cure: ``python -m`` this module."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.patients.blind.fourth.folders import FOLDERS, script, truth

SEEDS = (0, 1, 2)
_RUN = """
import json, resource, runpy
names = runpy.run_path("train.py", run_name="__main__")
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([float(names["score"]), used.ru_utime + used.ru_stime]))
"""


@dataclass(frozen=True)
class Pair:
    """The scores of an ill training and of its cure on one seed, and the CPU seconds of the slower one."""

    ill: float
    fixed: float
    seconds: float


def score(folder: Path, remedied: bool, seed: int) -> tuple[float, float]:
    """Return the score of a training, which runs in a process and a folder of its own, and its CPU seconds."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "train.py").write_text(script(folder, remedied, seed), encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", _RUN], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (folder.name, remedied, seed, done.stderr[-2000:])
    value, seconds = json.loads(done.stdout.splitlines()[-1])
    return value, seconds


def pair(folder: Path, seed: int) -> Pair:
    ill, first = score(folder, False, seed)
    fixed, second = score(folder, True, seed)
    return Pair(ill, fixed, max(first, second))


def main() -> None:
    for folder in FOLDERS:
        if sys.argv[1:] and folder.name not in sys.argv[1:]:
            continue
        pairs = [pair(folder, seed) for seed in SEEDS]
        ill = " ".join(f"{one.ill:.3f}" for one in pairs)
        fixed = " ".join(f"{one.fixed:.3f}" for one in pairs)
        holds = all(one.ill > truth(folder)["worse"] * one.fixed for one in pairs)
        seconds = max(one.seconds for one in pairs)
        verdict = "holds" if holds else "FAILS"
        print(f"{folder.name:22} ill {ill}  fixed {fixed}  {seconds:.0f} s  {verdict}", flush=True)


if __name__ == "__main__":
    main()
