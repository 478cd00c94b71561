"""``faultlab diff``: compare two reports."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.cli import options
from faultlab.core.report import dump
from faultlab.gate.diff import between
from faultlab.report.differences import lines
from faultlab.report.text import harmless


@click.command("diff")
@click.argument("before", type=click.Path(path_type=Path), metavar="A")
@click.argument("after", type=click.Path(path_type=Path), metavar="B")
@click.option("--exit-code", "tell", is_flag=True, help="Exit with 1 if there are differences.")
@options.as_json
def command(before: Path, after: Path, tell: bool, as_json: bool) -> int:
    """Compare report B with report A: newly silent failure modes, lost detections, faults no longer injected, and
    improvements.

    A and B are report.json files, run folders, or folders of run folders, which are compared scenario by scenario.
    """
    found = between(before, after)
    if as_json:
        click.echo(dump(found.to_json(), indent=1))
    else:
        for name in found.gone:
            click.echo(f"{name}: not in {after}")
        for name in found.new:
            click.echo(f"{name}: not in {before}")
        for comparison in found.comparisons:
            said = lines(comparison)
            click.echo(f"{comparison.scenario}: {'no difference' if not said else ''}".rstrip(" "))
            for line in said:
                click.echo(f"  {harmless(line)}")
    return 1 if tell and found else 0
