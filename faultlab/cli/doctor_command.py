"""``faultlab doctor``: check the environment, or find out why a training goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from faultlab.cli import options
from faultlab.cli.param_types import Number
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.cli.shell_completion import scenario_files
from faultlab.doctor.finding import ATTENTION, OK, WRONG, Finding
from faultlab.report.text import address, harmless

_STYLES = {OK: "green", ATTENTION: "yellow", WRONG: "red"}


@click.command("doctor", cls=WithScriptArguments)
@click.argument("target", required=False, metavar="[SCENARIO|SCRIPT|CONFIG|CLASS_PATH]", shell_complete=scenario_files)
@click.option("--timeout", type=Number(2), default=120, show_default=True, help="Time limit of a training in seconds.")
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print only what needs attention, with its remedy.")
def command(target: str | None, timeout: float, as_json: bool, quiet: bool) -> int:
    """Check the environment, or find out why the training of a scenario, a script or a class goes wrong.

    A scenario is trained as it is configured. A script is run up to Trainer.fit, and its module is then trained for 100
    steps; the same is done for the config of a LightningCLI. A script without Lightning, or a function such as
    train.py:main, is run for at most half of --timeout, and judged by the steps that it takes in this time. A
    class, such as package.module:LitModel, is built without arguments and trained with its own loaders. Without an
    argument, only the environment is checked.

    If the model learns nothing, it is trained again several times, each time with one setting changed, such as the
    learning rate, to find the cause.

    If the training hangs or crashes, the check continues and reports it. Everything after -- is passed to your script.

    Findings are labeled "wrong", "attention" or "ok". A finding labeled "attention" may be what you want, and does not
    change the exit code.

    Exit codes: 0 nothing is wrong, 1 something is wrong, 2 usage error.
    """
    found: list[Finding] = []
    for one in _look(target, timeout):
        found.append(one)
        if not as_json and not (quiet and one.verdict == OK):
            _show(one, links=not quiet)
    wrong = sum(one.verdict == WRONG for one in found)
    if as_json:
        from faultlab.core.report import dump

        click.echo(dump({"target": target, "wrong": wrong, "findings": [one.to_json() for one in found]}, indent=1))
    elif not quiet:
        attention = sum(one.verdict == ATTENTION for one in found)
        click.echo(f"{wrong} wrong, {attention} attention, {len(found) - wrong - attention} ok")
    return 1 if wrong else 0


def _look(target: str | None, timeout: float) -> Iterable[Finding]:
    if target is None:
        from faultlab.doctor.environment import ENVIRONMENT
        from faultlab.doctor.launch import LAUNCH

        return [*ENVIRONMENT.run({}), *LAUNCH.run({"environment": os.environ})]
    from faultlab.doctor.examination import examine

    return examine(target, timeout, arguments=script_arguments())


def _show(one: Finding, links: bool) -> None:
    label = click.style(f"{one.verdict:9}", fg=_STYLES[one.verdict])
    where = f" ({harmless(one.evidence)})" if one.evidence else ""
    click.echo(f"{label} {one.check}: {harmless(one.what)}{where}")
    if one.verdict != OK:
        if one.remedy:
            click.echo(f"{'':10}-> {harmless(one.remedy)}")
        for link in one.links if links and one.verdict == WRONG else ():
            click.echo(f"{'':10}   {address(link) or link}")
