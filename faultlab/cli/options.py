"""Options that several commands have, with one name and one meaning."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.cli.param_types import EngineName, OutputFolder
from faultlab.cli.shell_completion import failure_modes, scenario_files
from faultlab.errors import UsageError


def only_scenario(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Return the given scenario, or the only one in scenarios/."""
    if value is not None or ctx.resilient_parsing:
        return value
    from faultlab.config.scenario import find

    found = find(())
    if len(found) > 1:
        way = f"with {param.opts[0]}" if isinstance(param, click.Option) else f"as {param.human_readable_name}"
        listed = "".join(f"\n      {file}" for file in found)
        raise UsageError(f"no scenario given, and there are several in scenarios/\n    Name one {way}:{listed}")
    return found[0]


scenario = click.option(
    "--scenario",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=only_scenario,
    shell_complete=scenario_files,
    help="Scenario file.  [default: the only one in scenarios/]",
)
select = click.option(
    "--select",
    multiple=True,
    shell_complete=failure_modes,
    metavar="GLOB",
    help="Run only these failure modes or faults (repeatable).",
)
ignore = click.option(
    "--ignore",
    "skip",
    multiple=True,
    shell_complete=failure_modes,
    metavar="GLOB",
    help="Skip these failure modes (repeatable).",
)
seed = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed for the clean and the faulted runs."
)
jobs = click.option(
    "--jobs", "-j", type=click.IntRange(1), help="Number of parallel runs.  [default: the number of cores]"
)
engine = click.option(
    "--engine",
    type=EngineName(),
    help="How runs start: fork copies the clean run, spawn starts each from the beginning (slower).  [default: fork]",
)
no_warm = click.option(
    "--no-warm",
    is_flag=True,
    help="Run without the background process that makes the next command start faster.",
)
resume = click.option("--resume", is_flag=True, help="Continue an interrupted run.")
out = click.option(
    "--out",
    type=OutputFolder(),
    default=Path("reports"),
    show_default=True,
    help="Write reports to this folder.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
