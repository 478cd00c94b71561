"""``faultlab init``: writes a scenario for a project."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from faultlab.cli.param_types import Number
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.core import atomic_write
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
    from faultlab.discovery import candidates, project_index, scenario_writer
    from faultlab.report.text import harmless

    begun = time.monotonic()
    given = script_arguments()
    found = project_index.find(target)
    file = out or Path("scenarios") / f"{scenario_writer.scenario_name(candidates.Guess(found))}.yaml"
    if file.exists() and not force:
        raise UsageError(f"{file} is there already; --force overwrites it, --out names another file")
    click.echo(f"{found.shown}: looking how it is trained")
    with candidates.Scouting() as scouting:
        told = lambda what: click.echo(f"  trying {harmless(what)}")  # noqa: E731
        guess = candidates.guess(scouting, found, file, told, timeout, given)
    for line in scenario_writer.failures(guess):
        click.secho(f"  failed: {harmless(line)}", fg="yellow")
    if guess.found is None:
        raise UsageError(f"no way was found to train {found.shown}. {scenario_writer.remedy(guess)}")
    asked = shlex.join(["faultlab", "init", *([target] if target else []), *(["--", *given] if given else [])])
    atomic_write.write(file, scenario_writer.render(guess, asked))
    for line in scenario_writer.findings(guess):
        click.echo(f"  {harmless(line)}")
    click.echo(f"  {scenario_writer.pace(guess)}")
    for said in filter(None, (scenario_writer.made_up(guess), scenario_writer.unproven(guess))):
        click.secho(f"  {said}", fg="red", bold=True)
    click.secho(f"{file} is written, in {time.monotonic() - begun:.0f} s. Next:", bold=True)
    click.echo(f"  faultlab run {file}")
    return 0
