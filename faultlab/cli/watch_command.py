"""``faultlab watch``: run a command and report how its process ended."""

from __future__ import annotations

import sys

import click


@click.command("watch", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
@click.option(
    "--stall", type=click.FloatRange(0), default=600, show_default=True, metavar="SECONDS",
    help="Stop the command after this time without a sign of life; 0 disables this.",
)  # fmt: skip
@click.option(
    "--grace", type=click.FloatRange(0), default=10, show_default=True, metavar="SECONDS",
    help="After a request to stop, wait this long before killing the command.",
)  # fmt: skip
@click.option(
    "--expect-finish", is_flag=True, help="Exit with 1 if no training with Heartbeat finished, even if none was begun."
)
@click.option("--json", "as_json", is_flag=True, help="Report the result as one line of JSON.")
def command(command: tuple[str, ...], stall: float, grace: float, expect_finish: bool, as_json: bool) -> int:
    """Run a training and report how its process ended: killed, crashed, hung, or exited before the training finished.

    A training hangs if it shows no sign of life for too long. If it has the guard Heartbeat, the guard sends these
    signs. Without Heartbeat, any output counts as a sign of life. The result is printed to standard error.

    The exit code is that of the command, with these exceptions:

    \b
    - 1: a training with Heartbeat was not finished, although the command
      exited with 0.
    - 124: the command hung.
    - 126 or 127: the command could not be started.
    - 128 + N: signal N ended the command.
    """
    if sys.platform == "win32":
        raise click.UsageError("watch is supported on POSIX systems only")
    from faultlab.engines.supervisor import Supervisor

    ending = Supervisor(command, stall, grace, expect_finish).run()
    if as_json:
        from faultlab.core.report import dump

        click.echo(dump(ending.to_json()), err=True)
    elif ending.found:
        click.echo(f"faultlab watch: {ending.found}. {ending.remedy}", err=True)
    return ending.status
