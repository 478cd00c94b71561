"""Compare the verdicts on two scenarios that train the same model, such as the digits by a loop and with Lightning.

See benchmarks/README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

ROOT = Path(__file__).parents[1]
LOOP = ROOT / "scenarios/digits/loop.yaml"
LIGHTNING = ROOT / "scenarios/digits/scenario.yaml"
NOT_APPLICABLE = "not_applicable"


class Difference(NamedTuple):
    """A failure mode with another status in the second scenario; ``first`` and ``second`` have status and message."""

    mode: str
    first: tuple[str, str]
    second: tuple[str, str]


def verdicts(report: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the status of each failure mode, with the message of its detector if there is one."""
    found = {}
    for fault in report["faults"]:
        messages = [entry["message"] for entry in fault["detected_by"]] + fault["warnings"] + [fault["reason"]]
        found[fault["mode"]] = fault["status"], messages[0].partition("\n")[0]
    return found


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[int, list[Difference]]:
    """Return the number of failure modes that apply to both targets, and those whose status differs."""
    one, other = verdicts(first), verdicts(second)
    both = [mode for mode in one if mode in other and NOT_APPLICABLE not in (one[mode][0], other[mode][0])]
    differing = [Difference(mode, one[mode], other[mode]) for mode in both if one[mode][0] != other[mode][0]]
    return len(both), differing


def run(scenarios: tuple[Path, Path], jobs: int | None) -> list[dict[str, Any]]:
    """Return the report of a campaign on each scenario."""
    with tempfile.TemporaryDirectory() as out:
        more = [] if jobs is None else ["--jobs", str(jobs)]
        command = [sys.executable, "-m", "faultlab", "run", *map(str, scenarios), "--no-advice", "--out", out, *more]
        # The exit code is the gate's: a report is written even if it fails.
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        reports = [json.loads(file.read_text(encoding="utf-8")) for file in Path(out).glob("*/report.json")]
    order = [file.resolve() for file in scenarios]
    return sorted(reports, key=lambda report: order.index(Path(report["target"]["scenario"]).resolve()))


@click.command()
@click.argument("first", type=click.Path(exists=True, path_type=Path), default=LOOP)
@click.argument("second", type=click.Path(exists=True, path_type=Path), default=LIGHTNING)
@click.option("--jobs", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(first: Path, second: Path, jobs: int | None, as_json: bool) -> None:
    """Run both scenarios and print the failure modes whose status differs."""
    reports = run((first, second), jobs)
    if len(reports) != 2:
        sys.exit("a campaign wrote no report: see its output above")
    both, differing = compare(*reports)
    if as_json:
        click.echo(json.dumps({"both": both, "differing": [each._asdict() for each in differing]}, indent=1))
        return
    names = [report["scenario"] for report in reports]
    click.echo(f"{both} failure modes apply to both, and {len(differing)} of them have another status:")
    for mode, *found in differing:
        click.echo(mode)
        for name, (status, message) in zip(names, found):
            click.echo(f"  {name}: {status}: {message}" if message else f"  {name}: {status}")


if __name__ == "__main__":
    main()
