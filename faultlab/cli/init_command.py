"""``faultlab init``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from faultlab import wholefile
from faultlab.cli.numbers import Number
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.errors import UsageError


@click.command("init", cls=WithScriptArguments)
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

    TARGET is a LightningModule, as package.module:LitModel or file.py:LitModel, a file or folder with one in it, a
    config file of LightningCLI, or nothing for the folder you are in. Training scripts are run as far as Trainer.fit,
    and short trainings are tried. What follows -- are the script's own arguments:

        faultlab init train.py -- --data images --lr 0.1
    """
    from faultlab.report.text import harmless
    from faultlab.scouting import finding, guessing, writing

    begun = time.monotonic()
    given = script_arguments()
    found = finding.find(target)
    file = out or Path("scenarios") / f"{writing.scenario_name(guessing.Guess(found))}.yaml"
    if file.exists() and not force:
        raise UsageError(f"{file} is there already; --force overwrites it, --out names another file")
    click.echo(f"{found.shown}: looking how it is trained")
    with guessing.Scouting() as scouting:
        told = lambda what: click.echo(f"  trying {harmless(what)}")  # noqa: E731
        guess = guessing.guess(scouting, found, file, told, timeout, given)
    for line in writing.failures(guess):
        click.secho(f"  failed: {harmless(line)}", fg="yellow")
    if guess.found is None:
        raise UsageError(f"no way was found to train {found.shown}. {writing.remedy(guess)}")
    asked = shlex.join(["faultlab", "init", *([target] if target else []), *(["--", *given] if given else [])])
    wholefile.write(file, writing.render(guess, asked))
    for line in writing.findings(guess):
        click.echo(f"  {harmless(line)}")
    click.echo(f"  {writing.pace(guess)}")
    for said in filter(None, (writing.made_up(guess), writing.unproven(guess))):
        click.secho(f"  {said}", fg="red", bold=True)
    click.secho(f"{file} is written, in {time.monotonic() - begun:.0f} s. Next:", bold=True)
    click.echo(f"  faultlab run {file}")
    return 0
