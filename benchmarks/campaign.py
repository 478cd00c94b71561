"""What a campaign costs beside its floor, and beside a fresh process for every fault. See benchmarks/README.md.

The campaign is `faultlab run` itself, in a process of its own, with an engine that notes how long each run took.
Nothing else happens there or beside it while it is timed. Memory is sampled in runs of their own: to read how much of a
torch process is shared takes about 2 ms of a core, and holds that process up meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import psutil

from faultlab import engines, index
from faultlab.engines.protocol import Order, Outcome
from faultlab.fault import Fault
from faultlab.harness.campaign import CANARY, NULL

_SAMPLE_EVERY = 0.05
_GIB = 1 << 30


class Recorded:
    """An engine that notes how long every run took, inside its victim and as its nursery saw it."""

    def __init__(self, engine: engines.Engine, file: str) -> None:
        self._engine = engine
        self._file = file
        self._opened = 0.0
        self._batches: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, *args: Any) -> None:
        self._engine.open(*args)
        self._opened = time.monotonic()

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        faulted = {order.id for order in orders if order.fault}
        runs: list[dict[str, Any]] = []
        begun = time.monotonic()
        for outcome in self._engine.run(orders):
            inside = (outcome.result or {}).get("seconds", outcome.seconds)
            runs.append({"id": outcome.id, "faulted": outcome.id in faulted, "inside": inside})
            yield outcome
        self._batches.append({"seconds": time.monotonic() - begun, "runs": runs})

    def close(self) -> None:
        self._engine.close()
        Path(self._file).write_text(json.dumps({"opened": self._opened, "batches": self._batches}))


def recorded_run(file: str, arguments: list[str]) -> None:
    """`faultlab run ARGUMENTS` in this process, with what the engine noted written to the file."""
    from faultlab import cli

    create = engines.create
    engines.create = lambda name, jobs: Recorded(create(name, jobs), file)  # type: ignore[assignment,return-value]
    sys.argv = ["faultlab", "run", *arguments]
    cli.main()


@dataclass(frozen=True)
class Measured:
    """One `faultlab run`, in seconds.

    ``scale`` is how many faults each one carried out stands for: more than 1 where only every k-th was.
    """

    wall: float
    opening: float
    report: dict[str, Any]
    batches: list[dict[str, Any]]
    load: float
    scale: float = 1.0
    peak: int = 0

    @cached_property
    def _runs(self) -> list[dict[str, Any]]:
        """All but the canaries."""
        return [run for batch in self.batches for run in batch["runs"] if run["id"] not in (CANARY, NULL)]

    @cached_property
    def faulted(self) -> list[dict[str, Any]]:
        return [run for run in self._runs if run["faulted"]]

    @property
    def injection(self) -> float:
        """The faulted runs alone, first start to last end."""
        return self.scale * self._injection

    @property
    def _injection(self) -> float:
        return float(sum(b["seconds"] for b in self.batches if any(run in self.faulted for run in b["runs"])))

    @property
    def whole(self) -> float:
        return self.wall - self._injection + self.injection

    @property
    def phase(self) -> float:
        """As the report has it: the plan, the canaries, the trunk, the faults, and their verdicts put on disk."""
        return float(self.report["timing"]["faults"]) - self._injection + self.injection

    @property
    def baseline(self) -> float:
        return float(self.report["timing"]["baseline"])

    @property
    def after_import(self) -> float:
        return self.whole - self.opening

    @property
    def clean(self) -> float:
        """The fastest of the clean runs."""
        return float(min(run["inside"] for run in self._runs if run["id"].startswith("clean-")))

    @property
    def suffixes(self) -> float:
        """Without runs that stand still until their deadline: those take no core, and go beside the others."""
        return self.scale * sum(run["inside"] for run in self.faulted if not _hangs(run["id"]))

    @property
    def floor(self) -> float:
        return (self.clean + self.suffixes) / int(self.report["timing"]["jobs"])

    @property
    def statuses(self) -> dict[str, str]:
        return {fault["id"]: fault["status"] for fault in self.report["faults"]}


@dataclass(frozen=True)
class Bench:
    """Runs the scenario, each time in a fresh process."""

    scenario: Path
    jobs: int
    select: tuple[str, ...]

    def measure(self, engine: str, faults: Sequence[str] = (), scale: float = 1.0, memory: bool = False) -> Measured:
        """One run, of those faults alone where any are given."""
        with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as folder:
            notes = Path(folder, "notes.json")
            selected = [word for pattern in faults or self.select for word in ("--select", pattern)]
            options = ["--jobs", str(self.jobs), "--engine", engine, "--out", folder, "--json", *selected]
            load = os.getloadavg()[0]
            begun = time.monotonic()
            driver = subprocess.Popen(
                [sys.executable, __file__, "--notes", str(notes), str(self.scenario), *options],
                stdout=subprocess.PIPE,
                text=True,
            )
            with sampled(driver.pid) if memory else contextlib.nullcontext(int) as peak:
                printed, _ = driver.communicate()
            wall = time.monotonic() - begun
            try:
                (report,) = json.loads(printed)
            except ValueError:
                raise click.ClickException(f"faultlab run ended with status {driver.returncode}") from None
            noted = json.loads(notes.read_text())
        return Measured(wall, noted["opened"] - begun, report, noted["batches"], load, scale, peak())


@contextlib.contextmanager
def sampled(pid: int) -> Iterator[Callable[[], int]]:
    """Gives a function that returns the most memory that a process and its descendants have held together, in bytes.

    Memory that several of them share counts once: proportional set sizes are summed.
    """
    peak = 0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_EVERY):
            peak = max(peak, _footprint(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        thread.join()


def _footprint(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


@dataclass(frozen=True)
class Comparison:
    """The runs side by side: two campaigns, with a process for every fault in between, and the peaks of memory."""

    campaigns: Sequence[Measured]
    fresh: Measured
    memory: Sequence[Measured]

    def differences(self) -> list[str]:
        """The faults that the runs judged differently."""
        first, second = (campaign.statuses for campaign in self.campaigns)
        return [
            f"{id}: {first[id]} and {second.get(id)} in the campaigns, {status} in a fresh process"
            for id, status in self.fresh.statuses.items()
            if not first[id] == second.get(id) == status
        ]

    def rows(self) -> list[tuple[str, list[float | None]]]:
        """Name, both campaigns, their median, and the fresh processes; in seconds."""
        names = [("whole", "whole"), ("  start and import", "opening"), ("  after import", "after_import"),
                 ("    baseline", "baseline"), ("    faults phase", "phase"), ("      faulted runs", "injection"),
                 ("floor", "floor"), ("  clean run", "clean"), ("  faulted suffixes", "suffixes")]  # fmt: skip
        rows: list[tuple[str, list[float | None]]] = []
        for name, attribute in names:
            values = [getattr(campaign, attribute) for campaign in self.campaigns]
            # In a fresh process a run has no suffix: it begins at the beginning.
            fresh = None if attribute in ("floor", "clean", "suffixes") else getattr(self.fresh, attribute)
            rows.append((name, [*values, statistics.median(values), fresh]))
        return rows

    def ratios(self) -> dict[str, list[float]]:
        """For both campaigns and their median. Aims: at most 1.3 of the floor, 20 times faster than fresh processes."""
        found = {
            "faults phase / floor": [c.phase / c.floor for c in self.campaigns],
            "after import / floor": [c.after_import / c.floor for c in self.campaigns],
            "fresh / campaign, whole": [self.fresh.whole / c.whole for c in self.campaigns],
            "fresh / campaign, faulted runs": [self.fresh.injection / c.injection for c in self.campaigns],
            "fresh, faulted runs / campaign, whole": [self.fresh.injection / c.whole for c in self.campaigns],
        }
        return {name: [*values, statistics.median(values)] for name, values in found.items()}

    def to_json(self) -> dict[str, Any]:
        first = self.campaigns[0]
        return {
            "scenario": first.report["scenario"],
            "versions": first.report["versions"],
            "jobs": first.report["timing"]["jobs"],
            "faults": len(first.faulted),
            "fresh_faults": len(self.fresh.faulted),
            "fresh_scale": self.fresh.scale,
            "load": [run.load for run in self._in_order()] + [os.getloadavg()[0]],
            "seconds": {name.strip(): values for name, values in self.rows()},
            "ratios": self.ratios(),
            "peak_bytes": dict(zip(("campaign", "fresh"), [run.peak for run in self.memory])),
            "differences": self.differences(),
        }

    def print(self) -> None:
        data = self.to_json()
        settled = len(self.campaigns[0].statuses) - data["faults"]
        loads = ", ".join(f"{load:.1f}" for load in data["load"])
        click.echo(f"{data['scenario']}: {data['faults']} faults run, {settled} settled without a run; "
                   f"{data['jobs']} jobs; load before each run and at the end: {loads}")  # fmt: skip
        if self.fresh.scale != 1:
            click.echo(f"SCALED: of the faults, {data['fresh_faults']} ran in a fresh process, and the seconds of "
                       f"their runs are multiplied by {self.fresh.scale:.2f}")  # fmt: skip
        click.echo(f"\n{'seconds':40}{'campaign':>9}{'again':>9}{'median':>9}{'fresh process':>16}")
        for name, values in self.rows():
            *three, fresh = [f"{value:.2f}" if value is not None else "" for value in values]
            click.echo(f"{name:40}" + "".join(f"{value:>9}" for value in three) + f"{fresh:>16}")
        click.echo(f"\n{'ratios':40}{'campaign':>9}{'again':>9}{'median':>9}")
        for name, ratios in data["ratios"].items():
            click.echo(f"{name:40}" + "".join(f"{value:9.2f}" for value in ratios))
        if self.memory:
            campaign, fresh_peak = (f"{run.peak / _GIB:.2f}" for run in self.memory)
            click.echo(f"\n{'peak memory, GiB':40}{campaign:>9}{'':18}{fresh_peak:>16}")
        differences = data["differences"]
        judged = len(self.fresh.statuses)
        click.echo(f"\n{judged - len(differences)} of {judged} faults have the same status in all three runs")
        for difference in differences:
            click.echo(f"  {difference}")

    def _in_order(self) -> list[Measured]:
        first, second = self.campaigns
        return [first, self.fresh, second, *self.memory]


def _hangs(fault: str) -> bool:
    return index.modes()[Fault.parse(fault).mode].hangs


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path, exists=True), default="scenarios/digits/scenario.yaml")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Runs at a time, on both sides.  [default: the cores]")
@click.option("--select", multiple=True, metavar="GLOB", help="Only these failure modes or faults (repeatable).")
@click.option("--sample", type=click.IntRange(1), default=1, metavar="N", help="Every N-th fault in a fresh process.")
@click.option("--memory/--no-memory", default=True, help="Measure the peaks of memory too, in runs of their own.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")
def main(scenario: Path, jobs: int | None, select: tuple[str, ...], sample: int, memory: bool, as_json: bool) -> None:
    """Time a campaign on SCENARIO, the same faults in a fresh process each, and the campaign again."""
    bench = Bench(scenario, jobs or engines.cores(), select)

    def said(what: str) -> None:
        if not as_json:
            click.echo(what, err=True)

    said("campaign")
    first = bench.measure("fork")
    faults = sorted({run["id"] for run in first.faulted})
    if not faults:
        raise click.ClickException("no fault was run")
    chosen = faults[::sample]
    said(f"{len(chosen)} faults in a fresh process each, which takes minutes")
    fresh = bench.measure("spawn", chosen, len(faults) / len(chosen))
    said("campaign")
    second = bench.measure("fork")
    peaks: list[Measured] = []
    if memory:
        said("peaks of memory")
        # A few will do: a fresh process knows nothing of the one before.
        few = faults[:: max(1, len(faults) // (4 * bench.jobs))]
        peaks = [bench.measure("fork", memory=True), bench.measure("spawn", few, memory=True)]
    comparison = Comparison([first, second], fresh, peaks)
    if as_json:
        click.echo(json.dumps(comparison.to_json()))
    else:
        comparison.print()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--notes"]:
        recorded_run(sys.argv[2], sys.argv[3:])
    else:
        main()
