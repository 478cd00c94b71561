"""``faultlab demo``: inject faults into a small model that comes with faultlab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from faultlab import engines
from faultlab.cli import options
from faultlab.cli.multi_run import INTERRUPTED
from faultlab.core.report import Status, dump
from faultlab.report.text import harmless

if TYPE_CHECKING:
    from faultlab.cli.demo.walkthrough import Story

_COLOURS = {Status.DETECTED: "green", Status.WARNED: "yellow", Status.SILENT: "red"}


@click.command("demo")
@options.out
@options.jobs
@options.no_warm
@options.as_json
def command(out: Path, jobs: int | None, no_warm: bool, as_json: bool) -> int:
    """Inject faults into a small model that comes with faultlab, see which are detected, and add the missing guard.

    Needs neither a project nor a network. The report is written to reports/demo.
    """
    from faultlab.cli.demo import walkthrough
    from faultlab.cli.progress import Progress
    from faultlab.report import files

    if not as_json:
        click.echo("A small model learns to classify waves as sine, square or sawtooth (faultlab/cli/demo/model.py).")
        click.echo(
            "Its only guard is EarlyStopping, which stops when the validation loss is NaN. Now faults are injected:"
        )
    engine = engines.create(engines.default(), engines.checked_jobs(jobs))
    if not no_warm:
        engine.keep_warm()
    with Progress(silent=True, quiet=True) as progress:
        try:
            story = walkthrough.carry_out(engine, out, progress)
        finally:
            engine.close()
    page = files.write(story.before, out)
    if story.after is not None:
        files.write(story.after, out)
    if as_json:
        click.echo(dump(story.to_json(), indent=1))
    else:
        _show(story)
    if story.interrupted:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if not as_json:
        _show_next(story, page)
    return 0


def _show(story: Story) -> None:
    for number, told in enumerate(story.failures, 1):
        click.echo(f"\n{number}. {told.broken}  ({told.fault})")
        click.secho(f"   {harmless(told.became)}", fg=_COLOURS.get(told.status))
    if story.cured is not None:
        click.echo(f"\nA ready-made guard would have detected it: {story.guard}.")
        click.echo("With it among the scenario's guards, the same fault again:")
        click.secho(f"   {harmless(story.cured.became)}", fg=_COLOURS.get(story.cured.status))


def _show_next(story: Story, page: Path) -> None:
    seconds = story.before.timing.get("total", 0) + (story.after.timing.get("total", 0) if story.after else 0)
    click.echo(f"\n{len(story.before.faults)} faults in {seconds:.0f} s; the catalogue has hundreds. Open the report:")
    click.secho(f"  {page}", bold=True)
    click.echo("For your own module: faultlab init train.py")
