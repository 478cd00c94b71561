"""Measure large campaigns: ten thousand faults, a hundred million parameters, a thousand steps. See README.md.

Each part runs `faultlab run` in a separate process, on a target from benchmarks/targets. CPU seconds are user and
system time of the whole process tree; wall times are misleading on a busy machine.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil

from faultlab.core.report import Report
from faultlab.core.run_folder import OUTCOMES_FILE, PLAN_FILE, REPORT_FILE, folder_of
from faultlab.report import reporters
from faultlab.report.html import document

ROOT = Path(__file__).parents[1]
DOSES = {"gradient.doubled": "times", "gradient.exploding": "factor", "input.noise": "scale", "input.shifted": "offset",
         "input.unscaled": "factor", "layer.regularisation-added": "strength", "loss.offset": "offset",
         "loss.regulariser-dominates": "weight", "loss.scaled": "factor", "weights.bias-shifted": "shift",
         "weights.fuzzed": "scale"}  # fmt: skip
"""Failure modes that act in every step of the small target and have a dose that takes any number."""
STEPS = 6
_MIB = 1 << 20


@dataclass
class Ran:
    """A finished campaign: wall and CPU seconds, and its run folder."""

    folder: Path
    wall: float
    cpu: float


Watch = Callable[[psutil.Process], None]


def campaign(target: str, out: Path, select: Sequence[str], *options: str, watch: Watch | None = None) -> Ran:
    """Run the faults on a target; ``watch`` is called repeatedly with the driver's process."""
    chosen = [word for fault in select for word in ("--select", fault)]
    scenario = f"benchmarks/targets/{target}.yaml"
    command = [sys.executable, "-m", "faultlab", "run", scenario, "--out", str(out), "-q", *options, *chosen]
    before, begun = _cpu_of_children(), time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as driver:
        process = psutil.Process(driver.pid)
        while driver.poll() is None:
            if watch is not None:
                with contextlib.suppress(psutil.Error, OSError):
                    watch(process)
            time.sleep(0.05)
    folder = folder_of(out, target, partial=True)
    if not (folder / REPORT_FILE).exists():
        raise click.ClickException(f"faultlab run ended with status {driver.returncode}")
    return Ran(folder, time.monotonic() - begun, _cpu_of_children() - before)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@click.group()
def main() -> None:
    """Measure the cost of large campaigns."""


@main.command()
@click.option("--count", "-n", default=10_000, help="Number of faults.  [default: 10000]")
@click.option("--jobs", default=2, help="Runs at a time.  [default: 2]")
def faults(count: int, jobs: int) -> None:
    """Run many faults of a tiny training: the driver's memory, the journal, the reports."""
    each = -(-count // (len(DOSES) * STEPS))
    asked = [
        f"{mode}:{dose}={1.01 + n / 100:.2f}@step={step}"
        for n in range(each) for mode, dose in DOSES.items() for step in range(STEPS)
    ][:count]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="faultlab-scale-") as out:
        driver = Driver(folder_of(Path(out), "faults", partial=True) / OUTCOMES_FILE, count)
        ran = campaign("faults", Path(out), asked, "--jobs", str(jobs), watch=driver.look)
        click.echo(f"{count} faults: {ran.wall:.0f} s, {ran.cpu:.0f} CPU seconds, {ran.cpu / count:.3f} per fault; "
                   f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
        for judged, resident, cpu in driver.seen:
            click.echo(f"  {judged:>6} judged: the driver uses {resident:4.0f} MB and has used {cpu:.1f} CPU seconds")
        click.echo(f"  at the end, with the reports written: {driver.peak:.0f} MB at most")
        size = (ran.folder / OUTCOMES_FILE).stat().st_size
        click.echo(f"  the journal has {size / count / 1000:.1f} kB per fault")
        _reports(ran.folder)


@dataclass
class Driver:
    """The memory of the driver as the journal grows: (judged faults, MB, CPU seconds) at each tenth of the campaign."""

    journal: Path
    count: int
    seen: list[tuple[int, float, float]] = field(default_factory=list)
    peak: float = 0.0
    _read: int = 0
    _judged: int = 0

    def look(self, process: psutil.Process) -> None:
        resident = process.memory_info().rss / _MIB
        self.peak = max(self.peak, resident)
        if not self.journal.exists():
            return
        with self.journal.open("rb") as lines:
            lines.seek(self._read)
            new = lines.read()
        self._read += len(new)
        before = self._judged
        self._judged += new.count(b"\n")
        if self._judged * 10 // self.count > before * 10 // self.count:
            used = process.cpu_times()
            self.seen.append((self._judged, resident, used.user + used.system))


def _reports(folder: Path) -> None:
    report = Report.read(folder / REPORT_FILE)
    formats: dict[str, Callable[[], Any]] = {
        "report.json, read": lambda: Report.read(folder / REPORT_FILE),
        "report.json": report.to_json,
        "index.html": lambda: document.write(report, folder.parents[1]),
        **{one.file: lambda one=one: one.text(report, folder) for one in reporters.built_in()},
    }  # fmt: skip
    for name, write in formats.items():
        begun = time.process_time()
        write()
        click.echo(f"  {name:18} {time.process_time() - begun:6.2f} CPU seconds")


@main.command()
@click.option("--advice/--no-advice", default=False, help="Let the ready-made guards watch, too.  [default: no]")
def parameters(advice: bool) -> None:
    """Run faults on a model with a hundred million parameters: the private memory of each faulted run."""
    asked = ["step.raises@step=6", "loss.scaled@step=6", "weights.bias-shifted@step=6", "weights.fuzzed@step=6"]
    with tempfile.TemporaryDirectory(prefix="faultlab-scale-") as out:
        runs = Runs(folder_of(Path(out), "parameters", partial=True) / PLAN_FILE)
        watched = "--advice" if advice else "--no-advice"
        ran = campaign("parameters", Path(out), asked, "--jobs", "1", watched, "--timeout", "600", watch=runs.look)
        click.echo(f"{len(asked)} faults, {watched}: {ran.wall:.0f} s, {ran.cpu:.0f} CPU seconds in total; private MB "
                   "of each run after the plan, halfway through it, and its CPU seconds")  # fmt: skip
        for samples in runs.seen.values():
            private = statistics.median(private for private, _ in samples)
            click.echo(f"  {private:6.0f} MB {samples[-1][1]:6.2f} s")


@dataclass
class Runs:
    """The processes that execute runs, once there is a plan: (private MB, CPU seconds) over time, by process."""

    plan: Path
    seen: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def look(self, process: psutil.Process) -> None:
        if not self.plan.exists():
            return
        family = process.children(recursive=True)
        parents = {child.ppid() for child in family}
        for child in family:
            with contextlib.suppress(psutil.Error, OSError):
                used = child.cpu_times()
                if child.pid in parents:
                    # A process with children supervises them, and is not a run.
                    self.seen.pop(child.pid, None)
                    continue
                rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
                private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
                self.seen.setdefault(child.pid, []).append((private / 1024, used.user + used.system))


@main.command()
@click.option("--count", "-n", default=40, help="Faults of the campaign.  [default: 40]")
@click.option("--fresh", default=3, help="Faults to run in a fresh process each.  [default: 3]")
@click.option("--jobs", default=2, help="Runs at a time, on both sides.  [default: 2]")
def steps(count: int, fresh: int, jobs: int) -> None:
    """Run a training of a thousand steps of 10 ms with triggers at step 990, against a fresh process per fault."""
    asked = [f"loss.scaled:factor={2 + n}@step=990" for n in range(1 + max(count, fresh))]
    common = ("--jobs", str(jobs), "--no-advice")
    costs: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="faultlab-scale-") as out:
        for engine, many in (("fork", count), ("spawn", fresh)):
            # The time before the faults, mostly clean runs, is the same for one fault as for many.
            few, whole = (
                campaign("steps", Path(out, f"{engine}-{n}"), asked[:n], *common, "--engine", engine)
                for n in (1, 1 + many)
            )
            costs[engine] = ((whole.wall - few.wall) / many, (whole.cpu - few.cpu) / many)
            wall, cpu = costs[engine]
            click.echo(f"{engine:6} {many} faults more: {wall:.3f} s and {cpu:.3f} CPU seconds each")
    ratios = [slow / quick for slow, quick in zip(costs["spawn"], costs["fork"])]
    click.echo(f"fresh processes take {ratios[0]:.0f} times as long, {ratios[1]:.0f} times the CPU time (target: 60); "
               f"load {os.getloadavg()[0]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
