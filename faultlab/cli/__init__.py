"""The command line: one file per command, imported only when the command is called, so that `--help` is fast.

It imports neither torch nor Lightning, and no other package imports it.
"""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from itertools import takewhile
from typing import Any

import click
from click.shell_completion import CompletionItem

from faultlab.cli import defaults
from faultlab.core.version import __version__
from faultlab.errors import FaultlabError

PROGRAM, COMPLETE_VARIABLE = "faultlab", "_FAULTLAB_COMPLETE"

_COMMANDS = {
    "init": "Write a scenario for a training script or module.",
    "demo": "Inject faults into a small example model; needs no project.",
    "run": "Inject the faults of scenarios and report which were detected.",
    "prescribe": "Choose the fewest guards that detect the silent faults.",
    "sweep": "Find, for each guard, the weakest fault that it still detects.",
    "mutate": "Mutate source code and report the mutants that no test or guard detects.",
    "replay": "Run one fault in the foreground, optionally in a debugger.",
    "doctor": "Check the environment, or find out why a training fails.",
    "gate": "Check whether reports pass, or write the baseline file from them.",
    "diff": "Compare two reports.",
    "merge": "Merge the shards of a run into one report.",
    "report": "Regenerate the pages and files of a report.",
    "check": "Check scenario files without running them.",
    "list": "List the failure modes.",
    "explain": "Explain one failure mode.",
    "warm": "List or stop the processes that are kept warm between commands.",
    "watch": "Run a training and report how its process ended.",
    "completion": "Print the shell completion script.",
    "dev": "Scaffold failure modes, guards and report formats; regenerate docs.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        found: click.Command = import_module(f"faultlab.cli.{name}_command").command
        defaults.name_variables(found, f"{PROGRAM}_{name}")
        return found

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Return the context, with the defaults of pyproject.toml."""
        ctx = super().make_context(*args, **more)
        if not ctx.resilient_parsing:
            ctx.default_map = defaults.read(_COMMANDS, lambda name: self.get_command(ctx, name))
        return ctx

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that match, without importing them, which click's own method would."""
        found = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS:
            from faultlab.catalogue.failure_mode import nearest

            remedy = nearest(args[0], _COMMANDS) or f"Commands: {', '.join(_COMMANDS)}."
            ctx.fail(f"no such command {args[0]!r}. {remedy}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="faultlab")
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
def group(debug: bool) -> None:
    """Inject faults into a working PyTorch training, one failure mode at a time, and report which are detected.

    Exit codes: 0 success, 1 the limits that you set (the gate) were not met, 2 usage or scenario error, 3 the clean run
    failed or raised a false alarm, 4 inconclusive (a fault could not be judged), 70 internal error, 130 interrupted.
    Some commands have others: see their help.

    Options can also be set in pyproject.toml, under [tool.faultlab] for every command or [tool.faultlab.COMMAND] for
    one, and by environment variables such as FAULTLAB_RUN_JOBS.
    """


def main() -> None:
    """Run the command line; end every error of faultlab's own with one message and its exit code."""
    arguments = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    # After the command, it is the option of `replay`.
    debug = "--debug" in takewhile(lambda argument: argument.startswith("-"), arguments)
    as_json = "--json" in arguments and "watch" not in arguments[:2]
    try:
        sys.exit(group.main(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False))
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        if as_json:
            _print_json({"kind": "usage", "message": error.format_message(), "exit_code": 2})
        else:
            error.show()
        sys.exit(2)
    except FaultlabError as error:
        if debug:
            traceback.print_exc()
        if as_json:
            _print_json(error.to_json())
        else:
            click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if debug:
            traceback.print_exc()
        message = f"internal error: {type(error).__name__}: {error}"
        if as_json:
            _print_json({"kind": "internal", "message": message, "exit_code": 70})
        else:
            click.echo(message, err=True)
        click.echo("    `faultlab --debug ...` prints the traceback.", err=True)
        sys.exit(70)


def _print_json(error: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps({"error": error}, indent=1, ensure_ascii=False))
