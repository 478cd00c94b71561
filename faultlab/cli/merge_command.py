"""``faultlab merge``: merge the shards of a run into one report."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.cli import ci_services, options
from faultlab.core.report import dump
from faultlab.gate import merge
from faultlab.gate.demands import exit_code, gravest
from faultlab.report.overview import one_line
from faultlab.report.text import harmless


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@options.out
@ci_services.option
@options.as_json
def command(folders: tuple[Path, ...], out: Path, ci: str | None, as_json: bool) -> int:
    """Merge the shards of `faultlab run --shard K/N` into one report, and check whether it passes.

    DIRs are run folders, or folders of run folders. Each shard of a scenario must be present exactly once. All
    shards must come from the same commit.
    """
    from faultlab.report import files, reporters

    groups = merge.shares(folders)
    reports = []
    for group in groups.values():
        report = merge.joined(group)
        merge.write(group, report, out, reporters.files())
        page = files.write(report, out)
        reports.append(report)
        if not as_json:
            for reason in report.reasons:
                click.echo(f"  {harmless(reason.text)}")
            click.echo(harmless(one_line(report)))
            click.echo(f"  {page}")
    if as_json:
        click.echo(dump([report.to_json() for report in reports], indent=1))
    ci_services.tell(reports, ci, as_json)
    return gravest(exit_code(report) for report in reports)
