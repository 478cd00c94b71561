"""Compare the verdicts on scenarios that train the same model: the digits by a loop, and with four other frameworks.

See benchmarks/README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import click

ROOT = Path(__file__).parents[1]
FORMS = (
    ROOT / "scenarios/digits/loop.yaml",
    *(ROOT / f"benchmarks/digits_by/{name}.yaml" for name in ("lightning", "hf", "accelerate", "fabric")),
)
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


def run(scenarios: Sequence[Path], jobs: int | None) -> list[dict[str, Any]]:
    """Return the report of a campaign on each scenario."""
    with tempfile.TemporaryDirectory() as out:
        more = [] if jobs is None else ["--jobs", str(jobs)]
        command = [sys.executable, "-m", "faultlab", "run", *map(str, scenarios), "--no-advice", "--out", out, *more]
        # Whatever the scenarios select for the main job.
        command += ["--select", "*"]
        # The exit code is the gate's: a report is written even if it fails.
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        reports = [json.loads(file.read_text(encoding="utf-8")) for file in Path(out).glob("*/selected/report.json")]
    order = [file.resolve() for file in scenarios]
    return sorted(reports, key=lambda report: order.index(Path(report["target"]["scenario"]).resolve()))


def pairs(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the comparison of each report with each later one."""
    found = []
    for first, second in combinations(reports, 2):
        both, differing = compare(first, second)
        scenarios = [first["scenario"], second["scenario"]]
        found.append({"scenarios": scenarios, "both": both, "differing": [one._asdict() for one in differing]})
    return found


@click.command()
@click.argument("scenarios", type=click.Path(exists=True, path_type=Path), nargs=-1)
@click.option("--jobs", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(scenarios: tuple[Path, ...], jobs: int | None, as_json: bool) -> None:
    """Run two or more scenarios (default: the five forms of the digits) and print what differs between each two."""
    asked = scenarios or FORMS
    reports = run(asked, jobs)
    if len(reports) != len(asked):
        sys.exit("a campaign wrote no report: see its output above")
    found = pairs(reports)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for pair in found:
        first, second = pair["scenarios"]
        same = pair["both"] - len(pair["differing"])
        click.echo(f"{first}, {second}: {same} of {pair['both']} have the same status ({share(same, pair)})")
        for mode, *statuses in (one.values() for one in pair["differing"]):
            click.echo(f"  {mode}")
            for name, (status, message) in zip(pair["scenarios"], statuses):
                click.echo(f"    {name}: {status}: {message}" if message else f"    {name}: {status}")
    together = {"both": sum(pair["both"] for pair in found)}
    same = together["both"] - sum(len(pair["differing"]) for pair in found)
    click.echo(f"all pairs: {same} of {together['both']} have the same status ({share(same, together)})")


def share(same: int, pair: Mapping[str, Any]) -> str:
    """Return the share of the failure modes that apply to both which have the same status."""
    return f"{same / pair['both']:.1%}" if pair["both"] else "none"


if __name__ == "__main__":
    main()
