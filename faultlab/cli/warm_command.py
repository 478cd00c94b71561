"""``faultlab warm``: lists or ends the processes that stay warm between commands."""

from __future__ import annotations

import sys

import click


@click.command("warm")
@click.option("--stop", is_flag=True, help="End them. Commands that are running go on.")
def command(stop: bool) -> int:
    """List the processes that stay warm for the next command, or end them.

    `run`, `prescribe`, `sweep`, `replay` and `demo` leave one in each working folder, which has imported what is
    installed and ends by itself: FAULTLAB_WARM says after how many minutes without a command (5; 0 leaves none).
    """
    if sys.platform == "win32":
        raise click.UsageError("processes stay warm on Linux alone")
    from faultlab.engines import keeping

    found = keeping.end_all() if stop else keeping.states()
    for state in found:
        if stop:
            became = "ended"
        elif state["busy"]:
            became = "in use"
        else:
            became = f"ends in {max(1, round(state['left'] / 60))} min"
        click.echo(f"{state['folder']}: process {state['pid']}, {state['memory']} MiB, {became}")
    if not found:
        click.echo("no process is kept warm")
    return 0
