"""``faultlab merge``: joins the shares of a campaign to one report."""

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
    """Join the shares of `faultlab run --shard k/n` to the report of the whole, and say whether it passes.

    DIRs are run folders or folders of run folders. Every share of a scenario has to be there, once, of one commit.
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
