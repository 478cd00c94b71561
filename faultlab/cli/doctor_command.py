"""``faultlab doctor``: checks the environment, or says why a training goes wrong."""

from __future__ import annotations

from collections.abc import Iterable

import click

from faultlab.cli.param_types import Number
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.cli.shell_completion import scenario_files
from faultlab.doctor.finding import ATTENTION, OK, WRONG, Finding
from faultlab.report.text import address, harmless

_STYLES = {OK: "green", ATTENTION: "yellow", WRONG: "red"}


@click.command("doctor", cls=WithScriptArguments)
@click.argument("target", required=False, metavar="[SCENARIO|SCRIPT|CONFIG|CLASS_PATH]", shell_complete=scenario_files)
@click.option("--timeout", type=Number(2), default=120, show_default=True, help="Deadline of a training, s.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(target: str | None, timeout: float, as_json: bool) -> int:
    """Check the environment; or say why the training step of a scenario, a script or a class does not execute.

    A scenario is imported, built and trained as it says; a script is run as far as Trainer.fit, and its training for
    100 steps; so is what a config file of LightningCLI trains; a class, such as package.module.LitModel, by itself,
    without arguments and with loaders of its own. What hangs or crashes is survived. What follows -- are the script's
    own arguments.

    Exit codes: 0 nothing is wrong, 1 something is, 2 usage.
    """
    found: list[Finding] = []
    for one in _look(target, timeout):
        found.append(one)
        if not as_json:
            _show(one)
    wrong = sum(one.verdict == WRONG for one in found)
    if as_json:
        from faultlab.core.report import dump

        click.echo(dump({"target": target, "wrong": wrong, "findings": [one.to_json() for one in found]}, indent=1))
    else:
        attention = sum(one.verdict == ATTENTION for one in found)
        click.echo(f"{wrong} wrong, {attention} to be looked at, {len(found) - wrong - attention} fine")
    return 1 if wrong else 0


def _look(target: str | None, timeout: float) -> Iterable[Finding]:
    if target is None:
        from faultlab.doctor.environment import ENVIRONMENT

        return ENVIRONMENT.run({})
    from faultlab.doctor.examination import examine

    return examine(target, timeout, arguments=script_arguments())


def _show(one: Finding) -> None:
    label = click.style(f"{one.verdict:9}", fg=_STYLES[one.verdict])
    where = f" ({harmless(one.evidence)})" if one.evidence else ""
    click.echo(f"{label} {one.check}: {harmless(one.what)}{where}")
    if one.verdict != OK:
        if one.remedy:
            click.echo(f"{'':10}-> {harmless(one.remedy)}")
        for link in one.links if one.verdict == WRONG else ():
            click.echo(f"{'':10}   {address(link) or link}")
