"""Measure `pytest --faultlab` against its floor, and against a fresh pytest per fault. See benchmarks/README.md.

Every run is a separate process: the plugin's, one for every sampled fault, and the plugin's again.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from faultlab import engines
from faultlab.catalogue import index
from faultlab.core.fault import Fault

# File order: a random order could cause failures that no fault causes.
_QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
_HEAVY = ("torch", "pydantic", "numpy", "faultlab.testing", "faultlab.injection.registry")
_PLAIN_TEST = f"""import sys

def test_nothing_heavy_is_imported():
    assert [name for name in {_HEAVY} if name in sys.modules] == []
"""


@dataclass(frozen=True)
class Measured:
    """One `pytest --faultlab`: the seconds of the whole command, the CPU seconds, and its output files."""

    wall: float
    cpu: float
    report: dict[str, Any]
    matrix: dict[str, Any]
    load: float

    @property
    def clean(self) -> float:
        return float(self.matrix["timing"]["clean"])

    @property
    def phase(self) -> float:
        return float(self.matrix["timing"]["faults"])

    @property
    def jobs(self) -> int:
        return int(self.matrix["timing"]["jobs"])

    @cached_property
    def ran(self) -> dict[str, list[dict[str, Any]]]:
        """Return the cells of every fault that ran."""
        return {fault["id"]: fault["cells"] for fault in self.matrix["faults"] if fault["cells"]}

    @property
    def on_clean_code(self) -> float:
        """Return the time that the tests of each fault, and their shared fixtures, take without a fault."""
        tests = {test["test"]: test for test in self.matrix["tests"]}
        total = 0.0
        for cells in self.ran.values():
            run = [tests[cell["test"]] for cell in cells if cell["seconds"]]
            fixtures = {name: seconds for test in run for name, seconds in test["fixtures"].items()}
            total += sum(test["seconds"] - sum(test["fixtures"].values()) for test in run) + sum(fixtures.values())
        return float(total / self.jobs)

    @property
    def under_faults(self) -> float:
        """Return the time that the same tests took under the faults, without those that never ended and slept."""
        return float(sum(cell["seconds"] for cells in self.ran.values() for cell in cells)) / self.jobs

    @cached_property
    def statuses(self) -> dict[str, str]:
        return {fault["id"]: fault["status"] for fault in self.matrix["faults"]}


@dataclass(frozen=True)
class Alone:
    """One fault in a separate pytest. ``status`` is empty if that process died, which is the detection."""

    fault: str
    seconds: float
    exit: int
    status: str


@dataclass(frozen=True)
class Bench:
    """A benchmark that runs a suite, each time in a fresh process."""

    tests: Path
    jobs: int
    folder: Path

    def plugin(self, select: Sequence[str]) -> Measured:
        """Run the whole command, as a user does."""
        selected = [word for pattern in select for word in ("--faultlab-select", pattern)]
        load, before = os.getloadavg()[0], _spent()
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            seconds, process = self._pytest(
                "--faultlab", "--faultlab-jobs", str(self.jobs), "--faultlab-out", out, *selected
            )
            try:
                report, matrix = (json.loads(Path(out, name).read_text()) for name in ("report.json", "tests.json"))
            except FileNotFoundError:
                raise click.ClickException(f"pytest --faultlab failed:\n{process.stdout[-2000:]}") from None
        return Measured(seconds, _spent() - before, report, matrix, load)

    def alone(self, faults: Sequence[str]) -> tuple[list[Alone], float]:
        """Run each fault in a fresh pytest until its first failure; also return the CPU seconds of all.

        The results of the clean runs are provided.
        """
        self._alone(faults[0])
        before = _spent()
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(self._alone, faults)), _spent() - before

    def _alone(self, fault: str) -> Alone:
        learnt = ["--faultlab-learnt", str(self.folder / "learnt.json")]
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            seconds, process = self._pytest("-x", "--faultlab-inject", fault, *learnt, "--faultlab-out", out)
            written = Path(out, "report.json")
            found = json.loads(written.read_text())["faults"] if written.is_file() else []
        return Alone(fault, seconds, process.returncode, found[0]["status"] if found else "")

    def _pytest(self, *options: str) -> tuple[float, subprocess.CompletedProcess[str]]:
        begun = time.monotonic()
        command = [sys.executable, "-m", "pytest", str(self.tests), *_QUIET, *options]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        return time.monotonic() - begun, process


def _spent() -> float:
    """Return the CPU seconds of the reaped processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start_up(repeats: int, folder: Path) -> tuple[list[float], list[float]]:
    """Return the seconds of a plain pytest without torch, alternately with and without the plugin installed."""
    file = folder / "test_plain.py"
    file.write_text(_PLAIN_TEST)
    found: tuple[list[float], list[float]] = ([], [])
    for repeat in range(2 * repeats + 2):
        # Alternate which goes first; the first pair only warms up the disk cache.
        without = (repeat + repeat // 2) % 2
        command = [sys.executable, "-m", "pytest", str(file), *_QUIET, *(["-p", "no:faultlab"] if without else [])]
        begun = time.monotonic()
        process = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if process.returncode:
            raise click.ClickException(process.stdout)
        if repeat > 1:
            found[without].append(time.monotonic() - begun)
    return found


@dataclass(frozen=True)
class Comparison:
    """The plugin twice, in between the sampled faults in a separate pytest each, and the startup of plain pytest."""

    plugin: Sequence[Measured]
    alone: Sequence[Alone]
    alone_cpu: float
    plain: tuple[list[float], list[float]]

    @property
    def faults(self) -> int:
        """Return the number of faults for the naive loop: those that the plugin ran, without those that never end."""
        return len(_that_end(self.plugin[0].ran))

    @property
    def naive(self) -> float:
        """Return the seconds of all faults at the mean of those that ran, as if no core were ever idle."""
        return self.faults * statistics.mean(one.seconds for one in self.alone) / self.plugin[0].jobs

    @property
    def naive_cpu(self) -> float:
        """Return the CPU seconds of all faults, which depend less on other work of the machine."""
        return self.faults * self.alone_cpu / len(self.alone)

    def differences(self) -> list[str]:
        first, second = (run.statuses for run in self.plugin)
        return [
            f"{one.fault}: {first[one.fault]} and {second.get(one.fault)} in pytest --faultlab, "
            f"{one.status or f'exit status {one.exit}'} in a separate process"
            for one in self.alone
            if not first[one.fault] == second.get(one.fault) == (one.status or "detected")
        ]

    def to_json(self) -> dict[str, Any]:
        def both(name: str) -> list[float]:
            values = [getattr(run, name) for run in self.plugin]
            return [*values, statistics.median(values)]

        seconds = {name: both(name) for name in ("wall", "cpu", "clean", "phase", "on_clean_code", "under_faults")}
        medians = [statistics.median(values) for values in self.plain]
        return {
            "jobs": self.plugin[0].jobs,
            "faults": len(self.plugin[0].ran),
            "load": [run.load for run in self.plugin] + [os.getloadavg()[0]],
            "seconds": {**seconds, "naive": self.naive, "naive_cpu": self.naive_cpu},
            "ratios": {
                "naive / plugin": [self.naive / value for value in seconds["wall"]],
                "naive / plugin, CPU seconds": [self.naive_cpu / value for value in seconds["cpu"]],
                "phase / floor on clean code": [a / b for a, b in zip(seconds["phase"], seconds["on_clean_code"])],
                "phase / floor under the faults": [a / b for a, b in zip(seconds["phase"], seconds["under_faults"])],
            },
            "sample": [vars(one) for one in self.alone],
            "differences": self.differences(),
            "plain": {"with": medians[0], "without": medians[1], "ratio": medians[0] / medians[1]},
        }

    def print(self) -> None:
        data = self.to_json()
        seconds, ratios, plain = data["seconds"], data["ratios"], data["plain"]
        loads = ", ".join(f"{load:.1f}" for load in data["load"])
        click.echo(f"{data['faults']} faults run; {data['jobs']} jobs; load before each run and at the end: {loads}")
        mean, cpu = statistics.mean(one.seconds for one in self.alone), self.alone_cpu / len(self.alone)
        each = f"{mean:.2f} s each ({cpu:.2f} of CPU)"
        click.echo(f"SCALED: {len(self.alone)} faults ran in a separate pytest, {each}: the whole suite "
                   f"with -x, and the results of the clean runs were provided")  # fmt: skip
        click.echo(f"\n{'seconds':40}{'plugin':>9}{'again':>9}{'median':>9}{'naive':>9}")
        names = {
            "wall": "whole",
            "cpu": "  CPU seconds",
            "clean": "  clean passes",
            "phase": "  faults phase",
            "on_clean_code": "floor, the tests on clean code",
            "under_faults": "floor, the tests under the faults",
        }
        for key, name in names.items():
            naive = {"wall": f"{self.naive:9.1f}", "cpu": f"{self.naive_cpu:9.1f}"}.get(key, "")
            click.echo(f"{name:40}" + "".join(f"{value:9.2f}" for value in seconds[key]) + naive)
        click.echo(f"\n{'ratios':40}{'plugin':>9}{'again':>9}{'median':>9}")
        for name, values in ratios.items():
            click.echo(f"{name:40}" + "".join(f"{value:9.2f}" for value in values))
        died = [f"{one.fault} ({one.exit})" for one in self.alone if not one.status]
        differences = data["differences"]
        click.echo(f"\n{len(self.alone) - len(differences)} of {len(self.alone)} sampled faults have the same status")
        if died:
            click.echo(f"  detected by the end of pytest itself: {', '.join(died)}")
        for difference in differences:
            click.echo(f"  {difference}")
        click.echo(
            f"\nplain pytest, medians of {len(self.plain[0])}: {plain['with']:.3f} s with the plugin, "
            f"{plain['without']:.3f} s without, ratio {plain['ratio']:.3f}; neither imports {', '.join(_HEAVY)}"
        )


def _that_end(faults: Sequence[str] | dict[str, Any]) -> list[str]:
    """Return the faults without those that hang."""
    return sorted(fault for fault in faults if not index.modes()[Fault.parse(fault).mode].hangs)


@click.command()
@click.argument("tests", type=click.Path(path_type=Path, exists=True), default="scenarios/digits/tests")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Processes at a time, on both sides.  [default: the cores]")
@click.option("--select", multiple=True, metavar="GLOB", help="Only these failure modes or faults (repeatable).")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=60,
    metavar="N",
    help="Number of faults to run in a separate pytest each.",
)
@click.option("--seed", default=0, help="Seed for choosing these faults.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=15,
    metavar="N",
    help="Starts of a plain pytest with and without the plugin.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")
def main(
    tests: Path, jobs: int | None, select: tuple[str, ...], sample: int, seed: int, repeats: int, as_json: bool
) -> None:
    """Time `pytest --faultlab` on TESTS, sampled faults in a separate pytest each, and the plugin again."""

    def said(what: str) -> None:
        if not as_json:
            click.echo(what, err=True)

    with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as name:
        bench = Bench(tests, jobs or engines.cores(), Path(name))
        said("plain pytest")
        plain = start_up(repeats, Path(name))
        said("pytest --faultlab")
        first = bench.plugin(select)
        faults = _that_end(first.ran)
        if not faults:
            raise click.ClickException("no fault was run")
        chosen = random.Random(seed).sample(faults, min(sample, len(faults)))
        said(f"{len(chosen)} faults in a separate pytest each, which takes minutes")
        alone, cpu = bench.alone(chosen)
        said("pytest --faultlab")
        second = bench.plugin(select)
    comparison = Comparison([first, second], alone, cpu, plain)
    if as_json:
        click.echo(json.dumps(comparison.to_json()))
    else:
        comparison.print()


if __name__ == "__main__":
    main()
