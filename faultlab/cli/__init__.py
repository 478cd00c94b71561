"""The command line: one command a file, imported when it is called, since `--help` must not wait for any of them.

It imports neither torch nor Lightning, and no other package imports it.
"""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from faultlab.core.version import __version__
from faultlab.errors import FaultlabError

PROGRAM, COMPLETE_VARIABLE = "faultlab", "_FAULTLAB_COMPLETE"

_COMMANDS = {
    "init": "Look at a project and write a scenario that runs at once.",
    "demo": "See a small model broken; needs no project.",
    "run": "Break the modules of scenarios and report who detected.",
    "prescribe": "Find the guards that alert what a scenario leaves silent, and prove it.",
    "sweep": "Find how little of a failure mode each guard still detects, and when.",
    "mutate": "Mutate source code and report which changes no test and no guard detects.",
    "replay": "Run one fault in the foreground, with a debugger if asked.",
    "doctor": "Check the environment, or why a training step does not execute.",
    "gate": "Say whether reports pass, and keep what was reached from being lost.",
    "diff": "Say what is different between two reports.",
    "merge": "Join the shares of a campaign to one report.",
    "report": "Write the pages and files of a report anew.",
    "check": "Say what is wrong in scenario files, and run nothing.",
    "list": "List the failure modes.",
    "explain": "Explain one failure mode.",
    "warm": "List the processes that stay warm for the next command, or end them.",
    "watch": "Run a training and say what became of its process.",
    "completion": "Print the script by which a shell completes these commands.",
    "dev": "Add failure modes, guards and formats, and renew what is made of them.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        return import_module(f"faultlab.cli.{name}_command").command  # type: ignore[no-any-return]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without importing the commands, as click's own way does."""
        found = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS:
            from faultlab.catalogue.failure_mode import nearest

            remedy = nearest(args[0], _COMMANDS) or f"There are {', '.join(_COMMANDS)}."
            ctx.fail(f"no such command {args[0]!r}. {remedy}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="faultlab")
@click.option("--debug", is_flag=True, help="Show tracebacks of faultlab's own errors.")
def group(debug: bool) -> None:
    """Break a working LightningModule, one failure mode at a time, and see who detects.

    Exit codes: 0 the gate passed, 1 it did not, 2 usage or scenario error, 3 the clean run failed or raised a false
    alarm, 4 inconclusive, 70 an internal error, 130 interrupted.
    """


def main() -> None:
    """The entry point: every error of faultlab's own ends in one clear message and its exit code."""
    debug = "--debug" in sys.argv
    try:
        sys.exit(group.main(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False))
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except FaultlabError as error:
        if debug:
            traceback.print_exc()
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if debug:
            traceback.print_exc()
        click.echo(f"faultlab failed: {type(error).__name__}: {error}", err=True)
        click.echo("    `faultlab --debug ...` shows where.", err=True)
        sys.exit(70)
