"""Check the verdicts on source mutants, and compare their cost with mutmut alone and with one process per mutant.

See benchmarks/README.md. Every run is a separate process: `faultlab mutate`, `mutmut run`, a pytest for each mutant,
which gives the true verdict, and the first two again.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from faultlab import engines
from faultlab.config.scenario import project_root
from faultlab.core.threads import one_thread_environment
from faultlab.engines import processes
from faultlab.mutants import scope
from faultlab.mutants.workspace import Workspace

KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"
# File order: a random order could cause failures that no mutant causes.
_QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
_DISGUISE = "mutmut_disguise"
_LEAST_LIMIT, _FACTOR = 60.0, 10.0
# mutmut's own exit codes, and pytest's where mutmut has none.
_NO_TESTS, _TIMEOUTS = (5, 33), (36, 24, -24, 152, 255)


@dataclass(frozen=True)
class Judged:
    """The verdicts of one run of a tool, with its wall and CPU seconds and the load before it."""

    verdicts: Mapping[str, str]
    wall: float
    cpu: float
    load: float


@dataclass(frozen=True)
class Alone:
    """One mutant in a separate pytest: its verdict, and the seconds after the start."""

    mutant: str
    verdict: str
    seconds: float


@dataclass(frozen=True)
class Bench:
    """A benchmark that mutates the files at the paths and judges them by these tests, each time in a fresh process."""

    paths: Sequence[Path]
    tests: Sequence[Path]
    jobs: int
    folder: Path

    @property
    def workspace(self) -> Workspace:
        """Return mutmut's workspace, which is separate from faultlab's."""
        return Workspace(project_root(self.paths[0].resolve() / "_").resolve(), (self.folder / "mutmut").resolve())

    @property
    def sources(self) -> list[str]:
        return [self.workspace.relative(file) for file in scope.files_at(self.paths)]

    def faultlab(self) -> Judged:
        """Run `faultlab mutate` without verdicts of an earlier run."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            tests = [word for test in self.tests for word in ("--tests", str(test))]
            words = ["-m", "faultlab", "mutate", *map(str, self.paths), *tests, "--jobs", str(self.jobs)]
            begun, load, before = time.monotonic(), os.getloadavg()[0], _spent()
            made = _run([*words, "--out", out, "--json"], Path.cwd(), os.environ)
            wall, cpu = time.monotonic() - begun, _spent() - before
            if made.returncode not in (0, 1):
                raise click.ClickException(f"faultlab mutate ended with status {made.returncode}:\n{made.stderr}")
            (report,) = json.loads(made.stdout)
        outcomes = {
            fault["id"]: fault["mutant"]["tests"]["outcome"]
            for fault in report["faults"]
            if (fault.get("mutant") or {}).get("tests")
        }
        same = {"crashed": KILLED, "not_activated": SURVIVED}
        return Judged({name: same.get(outcome, outcome) for name, outcome in outcomes.items()}, wall, cpu, load)

    def mutmut(self) -> Judged:
        """Run `mutmut run` with one thread per process, and with the fixes for Lightning modules in mutated files."""
        shutil.rmtree(self.folder / "mutmut", ignore_errors=True)
        workspace = self.workspace
        workspace.make(self.sources)
        (self.folder / f"{_DISGUISE}.py").write_text(
            "from faultlab.injection import mutant_activation\nmutant_activation.disguise()\n"
        )
        settings = workspace.folder / "pyproject.toml"
        theirs = workspace.tree / "pyproject.toml"
        table = [
            settings.read_text(),
            f"pytest_add_cli_args = {json.dumps([*_QUIET, '-p', _DISGUISE])}",
            f"pytest_add_cli_args_test_selection = {json.dumps(self._selection())}",
        ]
        settings.write_text((theirs.read_text() if theirs.exists() else "") + "\n" + "\n".join(table) + "\n")
        program = Path(sys.executable).with_name("mutmut")
        begun, load, before = time.monotonic(), os.getloadavg()[0], _spent()
        words = [str(program), "run", "--max-children", str(self.jobs)]
        made = _run(words, workspace.folder, self._environment([str(self.folder)]), program=())
        wall, cpu = time.monotonic() - begun, _spent() - before
        if made.returncode:
            raise click.ClickException(f"mutmut run ended with status {made.returncode}:\n{made.stdout[-3000:]}")
        codes: dict[str, int | None] = {}
        for file in workspace.tree.rglob("*.py.meta"):
            codes |= json.loads(file.read_text())["exit_code_by_key"]
        return Judged({name: _verdict(code) for name, code in codes.items()}, wall, cpu, load)

    def truth(self, mutants: Sequence[str]) -> tuple[list[Alone], float]:
        """Run each in a fresh pytest of mutmut's tree until its first failure; also return the CPU seconds of all."""
        # The clean suite, too: it gives the time limit, and a failing suite would kill every mutant.
        clean = self.alone("no.mutant", 600.0)
        if clean.verdict != SURVIVED:
            raise click.ClickException("the tests fail on the clean code")
        limit, before = max(_LEAST_LIMIT, _FACTOR * clean.seconds), _spent()
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(lambda mutant: self.alone(mutant, limit), mutants)), _spent() - before

    def alone(self, mutant: str, limit: float) -> Alone:
        """Return the truth: pytest's exit status with the mutant active from the first import."""
        switched = [f"--faultlab-mutant={mutant}", f"--faultlab-killer={self.folder / mutant}.killer"]
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", *_QUIET, *switched, *self._selection()],
            cwd=self.workspace.tree,
            env=self._environment(self.workspace.path(self.sources)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            verdict = KILLED if process.wait(limit) else SURVIVED
        except subprocess.TimeoutExpired:
            verdict = TIMEOUT
        finally:
            processes.kill_group(process.pid)
            process.wait()
        return Alone(mutant, verdict, time.monotonic() - begun)

    def _selection(self) -> list[str]:
        return [os.path.relpath(test.resolve(), self.workspace.root) for test in self.tests]

    def _environment(self, first: Sequence[str]) -> dict[str, str]:
        environment = one_thread_environment()
        theirs = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
        return {**environment, "PYTHONPATH": os.pathsep.join([*first, *theirs]), "PY_IGNORE_IMPORTMISMATCH": "1"}


def _run(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], program: Sequence[str] = (sys.executable,)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *words],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _verdict(code: int | None) -> str:
    """Return mutmut's verdict in faultlab's terms. A function that no test runs survives, as in a separate pytest."""
    if code in _TIMEOUTS:
        return TIMEOUT
    return SURVIVED if code == 0 or code in _NO_TESTS else "not judged" if code is None else KILLED


def _spent() -> float:
    """Return the CPU seconds of the reaped processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Comparison:
    """Both tools twice, and in between the mutants that ran in a separate pytest."""

    faultlab: Sequence[Judged]
    mutmut: Sequence[Judged]
    alone: Sequence[Alone]
    alone_cpu: float
    jobs: int

    @property
    def mutants(self) -> int:
        """Return the number of mutants, without exempt ones, which faultlab does not judge."""
        return len(self.faultlab[0].verdicts)

    @property
    def ended(self) -> list[Alone]:
        """Return the results without the mutants that never end."""
        return [one for one in self.alone if one.verdict != TIMEOUT]

    @property
    def naive(self) -> float:
        """Return the seconds of all mutants at the mean of those that ended, as if no core were ever idle."""
        return self.mutants * statistics.mean(one.seconds for one in self.ended) / self.jobs

    @property
    def naive_cpu(self) -> float:
        """Return the CPU seconds of all mutants, which depend less on other work of the machine."""
        hung = sum(one.seconds for one in self.alone if one.verdict == TIMEOUT)
        return self.mutants * (self.alone_cpu - hung) / len(self.ended)

    def differences(self, runs: Sequence[Judged]) -> dict[str, list[str]]:
        """Return the mutants whose verdict differs from the truth, by verdict and truth."""
        found: dict[str, list[str]] = {}
        for one in self.alone:
            for said in dict.fromkeys(run.verdicts.get(one.mutant, "not judged") for run in runs):
                if said != one.verdict:
                    found.setdefault(f"{said}, in truth {one.verdict}", []).append(one.mutant)
        return found

    def to_json(self) -> dict[str, Any]:
        def both(runs: Sequence[Judged], name: str) -> list[float]:
            values = [getattr(run, name) for run in runs]
            return [*values, statistics.median(values)]

        seconds = {
            f"{tool}, {name}": both(runs, name)
            for tool, runs in (("faultlab", self.faultlab), ("mutmut", self.mutmut))
            for name in ("wall", "cpu")
        }
        return {
            "jobs": self.jobs,
            "mutants": self.mutants,
            "load": [run.load for run in (*self.faultlab, *self.mutmut)] + [os.getloadavg()[0]],
            "seconds": {**seconds, "alone, wall": self.naive, "alone, cpu": self.naive_cpu},
            "ratios": {
                "mutmut / faultlab": _ratios(seconds["mutmut, wall"], seconds["faultlab, wall"]),
                "mutmut / faultlab, CPU": _ratios(seconds["mutmut, cpu"], seconds["faultlab, cpu"]),
                "one process per mutant / faultlab": [self.naive / value for value in seconds["faultlab, wall"]],
                "one process per mutant / faultlab, CPU": [
                    self.naive_cpu / value for value in seconds["faultlab, cpu"]
                ],
            },
            "sample": [vars(one) for one in self.alone],
            "truth": Counter(one.verdict for one in self.alone),
            "faultlab_differs": self.differences(self.faultlab),
            "mutmut_differs": self.differences(self.mutmut),
        }

    def print(self) -> None:
        data = self.to_json()
        loads = ", ".join(f"{load:.1f}" for load in data["load"])
        click.echo(f"{data['mutants']} mutants; {data['jobs']} jobs; load before each run and at the end: {loads}")
        mean = statistics.mean(one.seconds for one in self.ended)
        scaled = "SCALED: " if len(self.alone) < self.mutants else ""
        click.echo(
            f"{scaled}{len(self.alone)} mutants ran in a separate pytest, {mean:.2f} s for each that ended; "
            f"those that never end are not timed"
        )
        click.echo(f"\n{'seconds':40}{'first':>9}{'again':>9}{'median':>9}")
        for name, values in data["seconds"].items():
            columns = values if isinstance(values, list) else [values]
            click.echo(f"{name:40}" + "".join(f"{value:9.1f}" for value in columns))
        click.echo(f"\n{'ratios':40}{'first':>9}{'again':>9}{'median':>9}")
        for name, values in data["ratios"].items():
            click.echo(f"{name:40}" + "".join(f"{value:9.2f}" for value in values))
        truth = ", ".join(f"{count} {verdict}" for verdict, count in sorted(data["truth"].items()))
        click.echo(f"\nin truth: {truth}")
        for tool in ("faultlab", "mutmut"):
            differs = data[f"{tool}_differs"]
            wrong = len({mutant for mutants in differs.values() for mutant in mutants})
            click.echo(f"{tool}: {len(self.alone) - wrong} of {len(self.alone)} verdicts are true, in both runs")
            for what, mutants in differs.items():
                click.echo(f"  {what}: {len(mutants)}")
                for mutant in mutants:
                    click.echo(f"    {mutant}")


def _ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(theirs, ours)]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--tests", multiple=True, type=click.Path(path_type=Path, exists=True), help="Tests that judge the mutants."
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Processes at a time, on all sides.  [default: the cores]")
@click.option(
    "--sample", type=click.IntRange(1), default=1, metavar="N", help="Run every N-th mutant in a separate pytest."
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")
def main(paths: tuple[Path, ...], tests: tuple[Path, ...], jobs: int | None, sample: int, as_json: bool) -> None:
    """Compare the verdicts on the mutants of the Python files at PATHS with the truth, and their cost.

    Without PATHS, use the project in tests/mutated and its tests.
    """

    def said(what: str) -> None:
        if not as_json:
            click.echo(what, err=True)

    if not paths:
        here = Path(__file__).parents[1] / "tests" / "mutated"
        paths, tests = (here / "slopes",), (here / "tests",)
    if not tests:
        raise click.UsageError("name the tests that judge with --tests")
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as name:
        bench = Bench(paths, tests, jobs or engines.cores(), Path(name))
        said("faultlab mutate")
        first = bench.faultlab()
        said("mutmut run")
        theirs = bench.mutmut()
        chosen = list(first.verdicts)[::sample]
        said(f"{len(chosen)} mutants in a separate pytest each, which takes minutes")
        alone, cpu = bench.truth(chosen)
        said("mutmut run")
        theirs_again = bench.mutmut()
        said("faultlab mutate")
        second = bench.faultlab()
    comparison = Comparison([first, second], [theirs, theirs_again], alone, cpu, bench.jobs)
    if as_json:
        click.echo(json.dumps(comparison.to_json()))
    else:
        comparison.print()


if __name__ == "__main__":
    main()
