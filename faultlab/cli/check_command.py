"""``faultlab check``: report mistakes in scenario files without running them."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.config.lint import SOON, check, looks_like_a_scenario
from faultlab.config.scenario import find
from faultlab.errors import ScenarioError


@click.command(
    "check",
    help=f"""Check scenario files without running them (PATH: files or folders, default: scenarios/).

    All errors are reported at once, each with file, line, column and remedy: invalid keys and values; unknown failure
    modes; missing tests, modules and classes; arguments that a class or the Trainer doesn't accept; guards that are not
    callbacks; devices and strategies that can't be run on several CPU processes; and expired exemptions. An exemption
    that expires within {SOON} days is a warning, and so is an accelerator that this machine lacks.

    Your code is not imported, so check can't find errors that only a run shows: values that a constructor rejects, code
    that fails, and names that are created at run time.

    Exit codes: 0 no errors, 2 errors.
    """,
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--skip-others", is_flag=True, help="Skip YAML files that are not scenarios; for pre-commit hooks.")
@click.option("--quiet", "-q", is_flag=True, help="Print only warnings and errors.")
def command(paths: tuple[Path, ...], skip_others: bool, quiet: bool) -> int:
    files = find(paths)
    own = [file for file in files if looks_like_a_scenario(file)] if skip_others else files
    found = check(own)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.problems:
        raise ScenarioError(found.problems)
    if not quiet:
        passed_over = f", {len(files) - len(own)} other YAML files skipped" if len(own) < len(files) else ""
        click.echo(f"{len(own)} scenario{'' if len(own) == 1 else 's'} valid{passed_over}")
    return 0
