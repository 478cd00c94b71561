"""``faultlab init``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from faultlab import wholefile
from faultlab.cli.numbers import Number
from faultlab.errors import UsageError


@click.command("init")
@click.argument("target", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it.  [default: scenarios/NAME.yaml]",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@click.option("--timeout", type=Number(5), default=150, show_default=True, help="Seconds to try in.")
def command(target: str | None, out: Path | None, force: bool, timeout: float) -> int:
    """Look at a project and write a scenario that runs at once, with what was guessed and why.

    TARGET is a LightningModule, as package.module:LitModel or file.py:LitModel, a file or folder with one in it, or
    nothing for the folder you are in. Training scripts are run as far as Trainer.fit, and short trainings are tried.
    """
    from faultlab.report.text import harmless
    from faultlab.scouting import finding, guessing, writing

    begun = time.monotonic()
    found = finding.find(target)
    file = out or Path("scenarios") / f"{writing.scenario_name(guessing.Guess(found))}.yaml"
    if file.exists() and not force:
        raise UsageError(f"{file} is there already; --force overwrites it, --out names another file")
    click.echo(f"{found.shown}: looking how it is trained")
    with guessing.Scouting() as scouting:
        guess = guessing.guess(scouting, found, file, lambda what: click.echo(f"  trying {harmless(what)}"), timeout)
    for line in writing.failures(guess):
        click.secho(f"  failed: {harmless(line)}", fg="yellow")
    if guess.found is None:
        raise UsageError(f"no way was found to train {found.shown}. {writing.remedy(guess)}")
    asked = " ".join(["faultlab init", *([target] if target else [])])
    wholefile.write(file, writing.render(guess, asked))
    for line in writing.findings(guess):
        click.echo(f"  {harmless(line)}")
    if said := writing.made_up(guess):
        click.secho(f"  {said}", fg="red", bold=True)
    click.secho(f"{file} is written, in {time.monotonic() - begun:.0f} s. Next:", bold=True)
    click.echo(f"  faultlab run {file}")
    return 0
