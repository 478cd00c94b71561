"""``faultlab watch``: runs a command and says what became of its process."""

from __future__ import annotations

import sys

import click


@click.command("watch", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
@click.option(
    "--stall", type=click.FloatRange(0), default=600, show_default=True, metavar="SECONDS",
    help="End a command that gives no sign of life for so long; 0 never does.",
)  # fmt: skip
@click.option(
    "--grace", type=click.FloatRange(0), default=10, show_default=True, metavar="SECONDS",
    help="How long a hung command is given to end by itself.",
)  # fmt: skip
@click.option("--expect-finish", is_flag=True, help="Take status 0 for success only if a training has finished.")
@click.option("--json", "as_json", is_flag=True, help="Say what happened as one line of JSON.")
def command(command: tuple[str, ...], stall: float, grace: float, expect_finish: bool, as_json: bool) -> int:
    """Run a training and say what became of its process: killed, crashed, hung, or ended before it was done.

    Its signs of life are those of the guard Heartbeat, and without that its output. What became of it is said on
    standard error.

    Exit codes: the command's own; 1 where it ended with 0 before its training was done, 124 where it hung, 126 or 127
    where it could not be started, 128 and the signal's number where a signal ended it.
    """
    if sys.platform == "win32":
        raise click.UsageError("watch needs a POSIX system")
    from faultlab.engines.supervisor import Supervisor

    ending = Supervisor(command, stall, grace, expect_finish).run()
    if as_json:
        from faultlab.core.report import dump

        click.echo(dump(ending.to_json()), err=True)
    elif ending.found:
        click.echo(f"faultlab watch: {ending.found}. {ending.remedy}", err=True)
    return ending.status
