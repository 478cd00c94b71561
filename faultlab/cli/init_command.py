"""``faultlab init``: write a scenario for a project."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from faultlab.cli import options
from faultlab.cli.param_types import Number
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.core import atomic_write
from faultlab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faultlab.discovery.candidates import Guess
    from faultlab.discovery.loops import LoopFound


@click.command("init", cls=WithScriptArguments)
@click.argument("target", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the scenario to this file.  [default: scenarios/NAME.yaml]",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option(
    "--timeout", type=Number(5), default=150, show_default=True, help="Total time limit of all attempts, in seconds."
)
@options.as_json
def command(target: str | None, out: Path | None, force: bool, timeout: float, as_json: bool) -> int:
    """Find a way to train a module of your project, and write a scenario for it.

    TARGET is a training script, a LightningModule (package.module:LitModel or file.py:LitModel), a file or folder that
    contains one, or a config file of LightningCLI. The default is the current folder. A script is run up to
    Trainer.fit, and then a few short trainings are tried. A script without Lightning is run to its end; train.py:main
    runs only the script's function main. Everything after -- is passed to your script:

        faultlab init train.py -- --data images --lr 0.1
    """
    from faultlab.config.several_ranks import refuse_launchers
    from faultlab.discovery import candidates, loops, project_index, scenario_writer
    from faultlab.report.text import harmless

    refuse_launchers()
    begun = time.monotonic()
    given = script_arguments()
    if target and (loop := loops.find(target, given)) is not None:
        return _write_loop(loop, target, given, out, force, timeout, as_json)
    found = project_index.find(target)
    file = _destination(out, scenario_writer.scenario_name(candidates.Guess(found)), force)

    def show(line: str, **style: Any) -> None:
        if not as_json:
            click.secho(line, **style)

    show(f"{found.shown}: looking for a way to train it")
    with candidates.Scouting() as scouting:
        guess = candidates.guess(
            scouting, found, file, lambda what: show(f"  trying: {harmless(what)}"), timeout, given
        )
    for line in scenario_writer.failures(guess):
        show(f"  failed: {harmless(line)}", fg="yellow")
    if guess.found is not None:
        atomic_write.write(file, scenario_writer.render(guess, _asked(target, given)))
    error = None
    if guess.found is None:
        error = UsageError(f"{found.shown}: could not be trained. {scenario_writer.remedy(guess)}")
    if as_json:
        from faultlab.core.report import dump

        click.echo(dump(_plain(guess, file, time.monotonic() - begun, error), indent=1))
        return error.exit_code if error else 0
    if error is not None:
        raise error
    for line in scenario_writer.notes(guess):
        show(f"  {harmless(line)}")
    for line in scenario_writer.limits(guess):
        show(f"  {line}", fg="red", bold=True)
    show(f"Wrote {file} in {time.monotonic() - begun:.0f} s. Next:", bold=True)
    show(f"  faultlab run {file}")
    return 0


def _destination(out: Path | None, name: str, force: bool) -> Path:
    """Return the file to write.

    Raises:
        UsageError: It exists, and is not to be overwritten.
    """
    file = out or Path("scenarios") / f"{name}.yaml"
    if file.exists() and not force:
        raise UsageError(f"{file}: file exists. Overwrite it with --force, or name another file with --out.")
    return file


def _asked(target: str | None, given: Sequence[str]) -> str:
    """Return the command line that asked for the scenario."""
    return shlex.join(["faultlab", "init", *([target] if target else []), *(["--", *given] if given else [])])


def _write_loop(
    loop: LoopFound, target: str, given: Sequence[str], out: Path | None, force: bool, timeout: float, as_json: bool
) -> int:
    from faultlab.discovery import loops
    from faultlab.report.text import harmless

    file = _destination(out, loops.scenario_name(loop), force)
    if not as_json:
        click.echo(f"{loop.shown}: running it to its end")
    begun = time.monotonic()
    answer = loops.tried(loop, timeout)
    atomic_write.write(file, loops.render(loop, answer, _asked(target, given)))
    notes, seconds = loops.findings(answer), time.monotonic() - begun
    if as_json:
        from faultlab.core.report import dump

        attempts = [{"attempt": f"running {loop.shown}", "failed": None}]
        plain = {"scenario": str(file), "attempts": attempts, "notes": notes, "seconds": round(seconds, 1)}
        click.echo(dump(plain, indent=1))
        return 0
    for line in notes:
        click.echo(f"  {harmless(line)}")
    click.secho(f"Wrote {file} in {seconds:.0f} s. Next:", bold=True)
    click.echo(f"  faultlab run {file}")
    return 0


def _plain(guess: Guess, file: Path, seconds: float, error: UsageError | None) -> dict[str, Any]:
    from faultlab.discovery import scenario_writer

    attempts: list[dict[str, str | None]] = [{"attempt": label, "failed": why} for label, why in guess.tried]
    plain: dict[str, Any] = {"scenario": None, "attempts": attempts, "notes": [], "seconds": round(seconds, 1)}
    if error is not None:
        return {**plain, "error": {"kind": "usage", "message": str(error), "exit_code": error.exit_code}}
    assert guess.found is not None
    attempts.append({"attempt": guess.found["label"], "failed": None})
    notes = [*scenario_writer.notes(guess), *scenario_writer.limits(guess)]
    return {**plain, "scenario": str(file), "notes": notes}
