"""TrainCheck: invariants of a run that is known to be good, checked on another run."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.realbugs.outcomes import ROOT
from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run

# What its README gives for long runs; without it a reference and its invariants took 132 CPU seconds, not 30.
_SAMPLING = ("--sampling-interval", "10", "--warm-up-steps", "10")
REFERENCE_SEED = 1000


@detector(
    "TrainCheck",
    "public",
    "`traincheck-collect` on the fixed version with another seed, `traincheck-infer`, and then `traincheck-collect "
    "--invariants` and `traincheck-check` on the run, each collection with `--sampling-interval 10 --warm-up-steps "
    "10`; violated invariants count. It takes a minute of CPU time for each bug and runs on a sample of 20, chosen by "
    "the hash of their ids, with one seed. The CPU column leaves out the invariants.",
    environment="peers",
    package="traincheck",
    most_seeds=1,
    nightly=20,
)
def watch(run: Run) -> None:
    # Its runner replaces the import path by the script's folder.
    (run.folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    invariants = run.recorded("invariants.json", lambda new: _infer(run, new))
    _collect(run, run.file, run.folder / "target", "--invariants", str(invariants))
    _call(run, "traincheck-check", "-f", "target", "-i", str(invariants))
    (summary,) = run.folder.glob("traincheck_checker_results*/*/violations_summary.json")
    for one in json.loads(summary.read_text(encoding="utf-8"))["violations"]:
        name = one["display_name"]
        run.alert(name, f"{name} {one['relation_type']}", max(one["first_step"] or 0, 0))


def _infer(run: Run, file: Path) -> None:
    script = run.folder / "reference.py"
    text = run.baseline.read_text(encoding="utf-8")
    script.write_text(text.replace(f"seed_all({run.seed})", f"seed_all({REFERENCE_SEED})"), encoding="utf-8")
    _collect(run, script, run.folder / "reference")
    _call(run, "traincheck-infer", "-f", "reference", "-o", str(file))


def _collect(run: Run, script: Path, folder: Path, *more: str) -> None:
    tracked = ("--models-to-track", "model", *_SAMPLING, *more)
    _call(run, "traincheck-collect", "--pyscript", str(script), *tracked, "--output-dir", str(folder))


def _call(run: Run, tool: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    done = subprocess.run(command, cwd=run.folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{tool} ended with exit code {done.returncode}: {done.stderr[-300:]}")
