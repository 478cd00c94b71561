"""Annotations and step summaries for the CI service that a command runs in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from faultlab.core.report import Report

GITHUB, NONE = "github", "none"


option = click.option(
    "--ci",
    type=click.Choice([GITHUB, NONE]),
    help="Print annotations and write a step summary.  [default: github in GitHub Actions, else none]",
)


def tell(reports: Sequence[Report], ci: str | None, as_json: bool) -> None:
    """Print annotations, unless standard output is one JSON document, and append to the step summary."""
    if (ci or (GITHUB if os.environ.get("GITHUB_ACTIONS") == "true" else NONE)) != GITHUB or not reports:
        return
    from faultlab.report.formats import github

    for line in [] if as_json else github.commands(reports):
        click.echo(line)
    if name := os.environ.get("GITHUB_STEP_SUMMARY"):
        file = Path(name)
        try:
            # Other commands of the same step may have written to it.
            room = github.SUMMARY_BYTES - (file.stat().st_size if file.exists() else 0)
            with file.open("a", encoding="utf-8") as out:
                out.write(github.step_summary(reports, room))
        except OSError as error:
            click.echo(f"{file}: {error.strerror}: no step summary was written", err=True)
