"""``faultlab demo``: inject faults into a small model that comes with faultlab."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab import engines
from faultlab.cli import options
from faultlab.cli.multi_run import INTERRUPTED
from faultlab.core.report import Status

_COLOURS = {Status.DETECTED: "green", Status.WARNED: "yellow", Status.SILENT: "red"}


@click.command("demo")
@options.out
@options.jobs
@options.no_warm
def command(out: Path, jobs: int | None, no_warm: bool) -> int:
    """Inject faults into a small model that comes with faultlab, see which are detected, and add the missing guard.

    Needs neither a project nor a network. The report is written to reports/demo.
    """
    from faultlab.cli.demo import walkthrough
    from faultlab.cli.progress import Progress
    from faultlab.report import files
    from faultlab.report.text import harmless

    click.echo("A small model learns to classify waves as sine, square or sawtooth (faultlab/cli/demo/model.py).")
    click.echo(
        "Its only guard is EarlyStopping, which stops when the validation loss is NaN. Three faults are injected:"
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
    for number, told in enumerate(story.failures, 1):
        click.echo()
        click.echo(f"{number}. {told.broken}  ({told.fault})")
        click.secho(f"   {harmless(told.became)}", fg=_COLOURS.get(told.status))
    if story.cured is not None and story.after is not None:
        files.write(story.after, out)
        click.echo()
        click.echo(f"A ready-made guard would have detected it: {story.guard}.")
        click.echo("With it among the scenario's guards, the same fault again:")
        click.secho(f"   {harmless(story.cured.became)}", fg=_COLOURS.get(story.cured.status))
    if story.interrupted:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    seconds = story.before.timing.get("total", 0) + (story.after.timing.get("total", 0) if story.after else 0)
    click.echo()
    click.echo(f"{len(story.before.faults)} faults in {seconds:.0f} s; the catalogue has hundreds. Open the report:")
    click.secho(f"  {page}", bold=True)
    click.echo("For your own module: faultlab init train.py")
    return 0
