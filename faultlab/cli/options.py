"""Options that several commands have, with one name and one meaning."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.cli.param_types import EngineName
from faultlab.cli.shell_completion import failure_modes, scenario_files

scenario = click.option(
    "--scenario",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    shell_complete=scenario_files,
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
engine = click.option("--engine", type=EngineName(), help="Start runs with this engine.  [default: fork]")
no_warm = click.option(
    "--no-warm", is_flag=True, help="Don't use or leave a warm process that speeds up the next command."
)
out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    help="Write reports to this folder.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
