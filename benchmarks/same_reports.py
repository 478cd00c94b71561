"""Compare the reports of this build with those of another commit, fault by fault. See benchmarks/README.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from builds import Build, built
from floor import ROOT

from faultlab.config.scenario import load_all

Json = Mapping[str, Any]


def _detectors(fault: Json) -> Any:
    return sorted((one["kind"], one["name"], one["step"], one["latency"]) for one in fault["detected_by"])


def _harm(fault: Json) -> Any:
    harm = fault.get("harm")
    return harm and [harm["metric"], harm["clean"], harm["faulty"], harm["harmful"]]


FIELDS: Mapping[str, Callable[[Json], Any]] = {
    **{name: lambda fault, name=name: fault[name] for name in ("severity", "status", "activations", "first_step")},
    "detectors": _detectors,
    "harm": _harm,
    "reason": lambda fault: fault["reason"],
    "warnings": lambda fault: fault["warnings"],
    "messages": lambda fault: sorted(one["message"] for one in fault["detected_by"]),
}
"""What is compared of a fault. Its seconds and digests differ in any two runs."""
BASELINE = ("steps", "deterministic", "seeds", "metrics", "false_alarms")


@dataclass
class Compared:
    """Two reports of a scenario, this build's first.

    Attributes:
        both: The faults that both have.
        here: Those that only this build has.
        there: Those that only the other has.
        baseline: The parts of the baseline that differ, with both values.
        differing: By what is compared of a fault: the faults in which it differs, with both values.
    """

    both: list[str] = field(default_factory=list)
    here: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    baseline: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    differing: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)

    def lines(self, most: int) -> list[str]:
        """Return what differs, with at most so many faults for each part of them."""
        told = [f"{len(self.both)} faults in both, {len(self.here)} only here, {len(self.there)} only there"]
        told += [f"  only there: {', '.join(self.there)}"] if self.there else []
        told += [f"  baseline, {part}: there {then!r}, here {now!r}" for part, (now, then) in self.baseline.items()]
        for part in FIELDS:
            found = self.differing.get(part, {})
            told.append(f"  {part}: {len(self.both) - len(found)} of {len(self.both)} equal")
            told += [f"    {id}: there {then!r}, here {now!r}" for id, (now, then) in list(found.items())[:most]]
            told += [f"    and {len(found) - most} more"] if len(found) > most else []
        return told


def compare(this: Json, other: Json) -> Compared:
    """Compare two reports of one scenario, read from report.json."""
    now, then = ({one["id"]: one for one in report["faults"]} for report in (this, other))
    found = Compared(
        sorted(now.keys() & then.keys()), sorted(now.keys() - then.keys()), sorted(then.keys() - now.keys())
    )
    begun = this["baseline"], other["baseline"]
    pairs = {part: (begun[0].get(part), begun[1].get(part)) for part in BASELINE}
    found.baseline = {part: pair for part, pair in pairs.items() if pair[0] != pair[1]}
    for part, read in FIELDS.items():
        values = {id: (read(now[id]), read(then[id])) for id in found.both}
        found.differing[part] = {id: pair for id, pair in values.items() if pair[0] != pair[1]}
    return found


@click.command()
@click.argument("ref", metavar="GITREF")
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--own-scenarios", is_flag=True, help="Let that build run the scenarios of its own tree.")
@click.option("--select", multiple=True, metavar="GLOB", help="Only these failure modes or faults (repeatable).")
@click.option("--most", type=click.IntRange(0), default=10, show_default=True, help="Faults to list for each part.")
def main(ref: str, scenarios: tuple[Path, ...], own_scenarios: bool, select: tuple[str, ...], most: int) -> None:
    """Compare the reports on SCENARIOS (default: digits) with those of another commit's build."""
    options = [word for pattern in select for word in ("--select", pattern)]
    equal = True
    with built(ref, own_scenarios) as other:
        for scenario in load_all(scenarios or (ROOT / "scenarios/digits/scenario.yaml",)):
            this, that = (build.report(scenario.file, *options)[0] for build in (Build("this build", ROOT), other))
            found = compare(this, that)
            equal = equal and not (found.there or found.baseline or any(found.differing.values()))
            click.echo("\n".join([f"{scenario.name}:", *found.lines(most)]))
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
