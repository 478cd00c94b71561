"""``faultlab check``: reports mistakes in scenario files without running them."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.config.lint import SOON, check, looks_like_a_scenario
from faultlab.config.scenario import find
from faultlab.errors import ScenarioError


@click.command(
    "check",
    help=f"""Say what is wrong in the scenarios at PATH (files or folders, default: scenarios/), and run nothing.

    All of it is said at once, with file, line, column and remedy: keys and values, failure modes, tests that are not
    there, classes that the project's files do not define, exemptions that have expired. An exemption that
    expires within {SOON} days is warned of. No code of yours is imported.

    Exit codes: 0 nothing is wrong, 2 something is.
    """,
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--skip-others", is_flag=True, help="Pass over YAML files that are no scenarios, as a hook is given them."
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing where nothing is wrong.")
def command(paths: tuple[Path, ...], skip_others: bool, quiet: bool) -> int:
    files = find(paths)
    own = [file for file in files if looks_like_a_scenario(file)] if skip_others else files
    found = check(own)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.problems:
        raise ScenarioError(found.problems)
    if not quiet:
        passed_over = f", {len(files) - len(own)} other YAML files" if len(own) < len(files) else ""
        click.echo(f"{len(own)} scenario{'' if len(own) == 1 else 's'} in order{passed_over}")
    return 0
