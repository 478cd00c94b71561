"""The floor of a campaign: the bare training that every campaign needs. See benchmarks/README.md.

Run as ``python benchmarks/floor.py SCENARIO...``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from bare import CLOCKS
from recorded import Run
from timed import spend

from faultlab import engines
from faultlab.config.scenario import Scenario, load_all
from faultlab.core.orders import Place
from faultlab.core.threads import one_thread_environment

ROOT = Path(__file__).resolve().parents[1]
FITS = 5


@dataclass(frozen=True)
class Timeline:
    """A bare training by one clock, in seconds since its build began, with the marks of `bare.Marks`."""

    fit: float
    begun: Sequence[float]
    ended: Sequence[float]
    validated: Sequence[float]
    end: float

    def suffix(self, at: Place) -> float:
        """Return the time from the place where a run is forked to the end."""
        return self.end - self._reached(at)

    def needed(self, run: Run, validations: int) -> float:
        """Return the minimum time of a run; ``validations`` is the number of the clean run's validation batches.

        A run that ended early needs only the steps that it completed, or the time until its first step. Skipped
        validation does not count, and no run needs more time than it took.
        """
        if run.steps >= len(self.begun):
            end, validated = self.end, self.validated[-1]
        elif run.steps:
            end, validated = self.ended[run.steps - 1], self.validated[run.steps - 1]
        else:
            end, validated = self.begun[0], 0.0
        did = self.validated[-1] * run.validations / validations if validations else validated
        return min(max(0.0, end - self._reached(run.at) - max(0.0, validated - did)), run.seconds)

    def _reached(self, at: Place) -> float:
        if isinstance(at, int):
            return self.begun[at] if at < len(self.begun) else self.end
        return 0.0 if at == "construct" else self.fit


@dataclass(frozen=True)
class Floor:
    """A floor by one clock, in seconds on one core: a bare clean run, and the sum of the faulted runs' suffixes."""

    clean: float
    suffixes: float

    @property
    def seconds(self) -> float:
        return self.clean + self.suffixes

    @classmethod
    def of(cls, runs: Sequence[Run], plain: Timeline, reloaded: Timeline | None) -> Floor:
        """Return the floor of the runs; of two runs of a fault the longer counts, and a sleeping run uses no core."""
        validations = {
            kind: max((run.validations for run in runs if not run.fault and run.reload == kind), default=0)
            for kind in (False, True)
        }
        needed: dict[str, float] = {}
        for run in runs:
            timeline = reloaded if run.reload else plain
            if run.fault and not run.sleeps and timeline is not None:
                seconds = timeline.needed(run, validations[run.reload])
                needed[run.id] = max(needed.get(run.id, 0.0), seconds)
        return cls(plain.end, sum(needed.values()))


@dataclass(frozen=True)
class Bare:
    """Floors by clock, and the CPU seconds that a process takes to import torch, Lightning and the scenario's code."""

    floors: Mapping[str, Floor]
    start: float


@dataclass(frozen=True)
class Recording:
    """The orders of this build's campaign on a scenario, and their results."""

    scenario: Scenario
    runs: Sequence[Run]
    reloading: Mapping[str, Any] | None
    faulted: Mapping[str, float]
    spent: Any
    report: Mapping[str, Any]

    @classmethod
    def take(cls, scenario: Scenario, *options: str) -> Recording:
        """Run `faultlab run` with these options."""
        with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as folder:
            notes = Path(folder, "notes.json")
            script = str(ROOT / "benchmarks" / "recorded.py")
            command = [
                sys.executable,
                script,
                str(notes),
                str(scenario.file.resolve()),
                "--out",
                folder,
                "--json",
                *options,
            ]
            spent = spend(command, cwd=ROOT, env=environment(ROOT))
            try:
                (report,) = json.loads(spent.printed)
                noted = json.loads(notes.read_text())
            except (ValueError, OSError):
                raise click.ClickException(f"faultlab run: status {spent.status}\n{spent.complaints[-2000:]}") from None
        return cls(scenario, [Run(**run) for run in noted["runs"]], noted["reloading"], noted["faulted"], spent, report)

    @property
    def faults(self) -> list[str]:
        """Return the faults that were run, each once."""
        return sorted({run.fault for run in self.runs} - {""})

    def bare(self) -> Bare:
        """Train bare in a fresh process and sum up the floor."""
        asked = {"scenario": self.scenario.for_victims(), "reload": self.reloading, "fits": FITS}
        with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as folder:
            file = Path(folder, "bare.json")
            done = subprocess.run(
                [sys.executable, str(ROOT / "benchmarks" / "bare.py"), str(file)],
                input=json.dumps(asked), cwd=ROOT, env=environment(ROOT), capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise click.ClickException(f"the bare training failed:\n{done.stderr[-2000:]}")
            found = json.loads(file.read_text())

        def timeline(kind: str, clock: str) -> Timeline | None:
            return Timeline(**found[kind][clock]) if kind in found else None

        floors = {
            clock: Floor.of(self.runs, timeline("plain", clock), timeline("reload", clock))  # type: ignore[arg-type]
            for clock in CLOCKS
        }
        return Bare(floors, found["start"])


def environment(tree: Path) -> dict[str, str]:
    """Return the environment of a process that runs the code of that tree on one thread.

    It uses no warm process, whose CPU seconds would not be counted for any command.
    """
    return {**one_thread_environment(), "PYTHONPATH": os.fspath(tree), "FAULTLAB_WARM": "0"}


@click.command()
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--jobs", "-j", type=click.IntRange(1), help="Runs at a time.  [default: the cores]")
@click.option("--select", multiple=True, metavar="GLOB", help="Only these failure modes or faults (repeatable).")
def main(scenarios: tuple[Path, ...], jobs: int | None, select: tuple[str, ...]) -> None:
    """Print the floors of campaigns on SCENARIOS, in CPU and wall seconds, and the cost of one campaign."""
    working = jobs or engines.cores()
    selected = [word for pattern in select for word in ("--select", pattern)]
    for scenario in load_all(scenarios):
        recording = Recording.take(scenario, "--jobs", str(working), *selected)
        bare = recording.bare()
        for clock, floor in bare.floors.items():
            shares = working if clock == "wall" else 1
            took, whole = getattr(recording.spent, clock), floor.seconds / shares
            click.echo(
                f"{scenario.name}, {len(recording.faults)} faults, {working} jobs, {clock} seconds: floor {whole:.2f} "
                f"({floor.clean:.3f} for a clean run, {floor.suffixes:.2f} for the faulted ones, over {shares}), "
                f"campaign {took:.2f}, ratio {took / whole:.2f}; {bare.start:.2f} CPU seconds to import all once"
            )


if __name__ == "__main__":
    main()
