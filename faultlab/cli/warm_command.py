"""``faultlab warm``: list or stop the processes that are kept warm between commands."""

from __future__ import annotations

import sys

import click


@click.command("warm")
@click.option("--stop", is_flag=True, help="Stop the process of this folder. Running commands are not affected.")
@click.option("--all", "everywhere", is_flag=True, help="With --stop: stop the processes of all folders.")
def command(stop: bool, everywhere: bool) -> int:
    """List or stop the processes that are kept warm between commands.

    In each working folder, `run`, `prescribe`, `sweep`, `replay` and `demo` leave a process that has already imported
    torch and Lightning, so that the next command starts faster. It exits after FAULTLAB_WARM minutes without a command
    (default: 5; 0: leave no process).
    """
    if sys.platform == "win32":
        raise click.UsageError("warm processes are supported on Linux only")
    from faultlab.engines import keeping

    if everywhere and not stop:
        raise click.UsageError("--all needs --stop: without it, the processes of all folders are listed")
    end = keeping.end_all if everywhere else keeping.end_own
    found = end() if stop else keeping.states()
    for state in found:
        if stop:
            became = "stopped"
        elif state["busy"]:
            became = "in use"
        else:
            became = f"exits in {max(1, round(state['left'] / 60))} min"
        click.echo(f"{state['folder']}: process {state['pid']}, {state['memory']} MiB, {became}")
    if not found:
        click.echo("no warm process in this folder" if stop and not everywhere else "no warm processes")
    return 0
