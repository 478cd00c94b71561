"""Measure the cost of campaigns against their floor, against another build, and against a process for every fault.

See benchmarks/README.md. Every measurement is a command with its own processes; the commands run one after the other.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from builds import Build, Cost, built
from floor import ROOT, Bare, Recording
from timed import Spent

from faultlab import engines
from faultlab.config.scenario import Scenario, load_all

CLOCKS = ("cpu", "wall")
_GIB = 1 << 30


@dataclass
class Measured:
    """One scenario, measured in rounds: ``this``, ``other`` and ``unadvised`` have one campaign per round each."""

    name: str
    jobs: int
    recording: Recording
    floors: list[Bare] = field(default_factory=list)
    this: list[Cost] = field(default_factory=list)
    other: list[Cost] = field(default_factory=list)
    unadvised: list[Cost] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    fresh: Recording | None = None

    def floor(self, clock: str) -> list[float]:
        """Return the floor in seconds: of all cores in total for CPU time, of all jobs in parallel for wall time."""
        return [bare.floors[clock].seconds / (self.jobs if clock == "wall" else 1) for bare in self.floors]

    def start(self, clock: str, costs: Sequence[Cost]) -> list[float]:
        """Return the time outside of baseline and faults; for CPU time, the imports of one process."""
        return [cost.start for cost in costs] if clock == "wall" else [bare.start for bare in self.floors]

    def differences(self) -> list[str]:
        """Return the faults whose verdicts differ between the builds, or between the rounds of one build."""
        found = []
        for id in sorted({id for cost in [*self.this, *self.other] for id in cost.statuses}):
            judged = [sorted({cost.statuses.get(id, "not there") for cost in side}) for side in (self.this, self.other)]
            ours, theirs = (" or ".join(statuses) for statuses in judged)
            if len(judged[0]) > 1 or (self.other and judged[0] != judged[1]):
                found.append(f"{self.name}: {id}: {ours}" + (f", there {theirs}" if self.other else ""))
        return found

    def fresh_seconds(self, clock: str) -> float:
        """Return the seconds with one process per fault, if the skipped faults take as long as the others."""
        assert self.fresh is not None
        faulted = self.fresh.faulted[clock]
        scale = len(self.recording.faults) / len(self.fresh.faults)
        return float(getattr(self.fresh.spent, clock) + faulted * (scale - 1))


def seconds(costs: Iterable[Any], clock: str) -> list[float]:
    return [getattr(cost, clock) for cost in costs]


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratios pair by pair."""
    return [one / other for one, other in zip(above, below)]


def spread(values: Sequence[float]) -> str:
    """Return the median, with the minimum and the maximum if there are several values."""
    middle = f"{statistics.median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f}-{max(values):.2f})"


def total(parts: Sequence[Sequence[float]]) -> list[float]:
    """Return the sum over all scenarios, round by round."""
    return [sum(values) for values in zip(*parts)]


def table(scenarios: Sequence[Measured], clock: str, other: Build | None) -> list[list[str]]:
    """Return the heading, a row for each scenario, and a row for their total."""
    columns = ["floor", "this build", "/ floor", "without start-up / floor"]
    columns += [other.name, "/ floor", f"this build / {other.name}"] if other else []
    groups = [[one] for one in scenarios] + ([list(scenarios)] if len(scenarios) > 1 else [])
    rows = []
    for group in groups:
        floor, this = total([one.floor(clock) for one in group]), total([seconds(one.this, clock) for one in group])
        start = total([one.start(clock, one.this) for one in group])
        after = [whole - begun for whole, begun in zip(this, start)]
        row = [group[0].name if len(group) == 1 else "all of them", spread(floor), spread(this)]
        row += [spread(ratios(this, floor)), spread(ratios(after, floor))]
        if other:
            those = total([seconds(one.other, clock) for one in group])
            # The floor belongs to the scenarios of this tree.
            beside = "" if other.own_scenarios else spread(ratios(those, floor))
            row += [spread(those), beside, spread(ratios(this, those))]
        rows.append(row)
    return [[f"{clock} seconds", *columns], *rows]


def show(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    click.echo()
    for line in rows:
        first, *rest = (cell.ljust(width) if not at else cell.rjust(width)
                        for at, (cell, width) in enumerate(zip(line, widths)))  # fmt: skip
        click.echo("  ".join([first, *rest]))


@dataclass(frozen=True)
class Asked:
    """The options of the command line."""

    jobs: int
    select: tuple[str, ...]
    repeats: int
    advice: bool
    fresh: bool
    sample: int
    memory: bool
    tell: Callable[[str], None]

    @property
    def options(self) -> list[str]:
        return ["--jobs", str(self.jobs), *(word for pattern in self.select for word in ("--select", pattern))]

    def measure(self, scenario: Scenario, this: Build, other: Build | None) -> Measured:
        self.tell(f"{scenario.name}: measuring the faulted runs")
        measured = Measured(scenario.name, self.jobs, Recording.take(scenario, *self.options))
        if not measured.recording.faults:
            raise click.ClickException(f"{scenario.name}: no fault was run")
        for number in range(self.repeats):
            self.tell(f"{scenario.name}: round {number + 1} of {self.repeats}")
            measured.floors.append(measured.recording.bare())
            measured.this.append(this.run(scenario.file, *self.options))
            if other is not None:
                measured.other.append(other.run(scenario.file, *self.options))
            if not self.advice:
                measured.unadvised.append(this.run(scenario.file, "--no-advice", *self.options))
        if self.memory:
            self.tell(f"{scenario.name}: memory")
            peaks = [build.run(scenario.file, *self.options, memory=True) for build in filter(None, (this, other))]
            measured.peaks = [cost.peak for cost in peaks]
        if self.fresh:
            chosen = measured.recording.faults[:: self.sample]
            self.tell(f"{scenario.name}: {len(chosen)} faults in one process each, which takes minutes")
            select = [word for fault in chosen for word in ("--select", fault)]
            measured.fresh = Recording.take(scenario, "--jobs", str(self.jobs), "--engine", "spawn", *select)
        return measured


def report(scenarios: Sequence[Measured], other: Build | None, demos: Sequence[Sequence[Spent]], sample: int) -> None:
    """Print the measurements."""
    for one in scenarios:
        loads = [cost.load for cost in [*one.this, *one.other]]
        settled = len(one.this[0].statuses) - len(one.recording.faults)
        click.echo(
            f"{one.name}: {len(one.recording.faults)} faults run, {settled} settled without a run; "
            f"{one.jobs} jobs; load {min(loads):.1f} to {max(loads):.1f}"
        )
    for clock in CLOCKS:
        show(table(scenarios, clock, other))
    rows = []
    for one in scenarios:
        for clock in CLOCKS:
            if one.unadvised:
                rows.append([one.name, f"with / without ready-made guards, {clock}",
                             spread(ratios(seconds(one.this, clock), seconds(one.unadvised, clock)))])  # fmt: skip
            if one.fresh is not None:
                ratio = one.fresh_seconds(clock) / statistics.median(seconds(one.this, clock))
                scaled = " (SCALED)" if sample > 1 else ""
                rows.append([one.name, f"a process for every fault{scaled} / this build, {clock}", f"{ratio:.1f}"])
        if one.peaks:
            rows.append([one.name, "peak of memory, GiB", ", ".join(f"{peak / _GIB:.2f}" for peak in one.peaks)])
    for clock in CLOCKS if demos else ():
        this, *others = (seconds(costs, clock) for costs in demos)
        rows.append(["demo", f"{clock} seconds", spread(this), *map(spread, others)])
        rows += [["demo", f"this build / the other, {clock}", spread(ratios(this, those))] for those in others]
    if rows:
        show([row + [""] * (max(map(len, rows)) - len(row)) for row in rows])
    differences = [line for one in scenarios for line in one.differences()]
    click.echo(f"\nfaults whose status varies: {len(differences)}")
    for line in differences:
        click.echo(f"  {line}")


def to_json(scenarios: Sequence[Measured], other: str, demos: Sequence[Sequence[Spent]]) -> dict[str, Any]:
    """Return all rounds, in seconds; the first of each pair of demos is this build's."""

    def costs(found: Sequence[Cost]) -> list[dict[str, Any]]:
        return [{name: value for name, value in asdict(cost).items() if name != "statuses"} for cost in found]

    return {
        "against": other,
        "scenarios": [
            {
                "name": one.name,
                "jobs": one.jobs,
                "versions": one.recording.report["versions"],
                "faults": len(one.recording.faults),
                "floor": {clock: one.floor(clock) for clock in CLOCKS},
                "bare": [asdict(bare) for bare in one.floors],
                "this": costs(one.this),
                "other": costs(one.other),
                "unadvised": costs(one.unadvised),
                "fresh": {clock: one.fresh_seconds(clock) for clock in CLOCKS} if one.fresh else None,
                "peaks": one.peaks,
                "differences": one.differences(),
            }
            for one in scenarios
        ],
        "demos": [{"cpu": seconds(found, "cpu"), "wall": seconds(found, "wall")} for found in demos],
    }


@click.command()
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--against", default="", metavar="GITREF", help="Measure this commit's build, too, in alternation.")
@click.option("--own-scenarios", is_flag=True, help="Let that build run the scenarios of its own tree.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Runs at a time.  [default: the cores]")
@click.option("--select", multiple=True, metavar="GLOB", help="Only these failure modes or faults (repeatable).")
@click.option(
    "--no-advice", is_flag=True, help="Measure this build without the ready-made guards, too, in alternation."
)
@click.option("--demo", is_flag=True, help="Measure `faultlab demo`, too.")
@click.option("--fresh", is_flag=True, help="Measure one process per fault, too, once.")
@click.option(
    "--sample", type=click.IntRange(1), default=1, metavar="N", help="With --fresh, run only every N-th fault."
)
@click.option("--memory", is_flag=True, help="Measure the peak memory, too, in separate runs.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")
def main(scenarios: tuple[Path, ...], against: str, own_scenarios: bool, repeats: int, jobs: int | None,
         select: tuple[str, ...], no_advice: bool, demo: bool, fresh: bool, sample: int, memory: bool,
         as_json: bool) -> None:  # fmt: skip
    """Time campaigns on SCENARIOS (default: digits) against their floor."""
    tell = (lambda what: None) if as_json else (lambda what: click.echo(what, err=True))
    # No worktree may be left behind if this is interrupted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    asked = Asked(jobs or engines.cores(), select, repeats, not no_advice, fresh, sample, memory, tell)
    this = Build("this build", ROOT)
    with built(against, own_scenarios) if against else contextlib.nullcontext() as other:
        builds = [build for build in (this, other) if build is not None]
        measured = []
        demos: list[list[Spent]] = [[] for _ in builds] if demo else []
        for number in range(repeats if demo else 0):
            tell(f"demo: round {number + 1} of {repeats}")
            for build, costs in zip(builds, demos):
                costs.append(build.demo("--jobs", str(asked.jobs)))
        for scenario in load_all(scenarios or (ROOT / "scenarios/digits/scenario.yaml",)):
            measured.append(asked.measure(scenario, this, other))
    if as_json:
        click.echo(json.dumps(to_json(measured, against, demos)))
    else:
        report(measured, other, demos, sample)


if __name__ == "__main__":
    main()
