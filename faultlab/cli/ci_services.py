"""What a command tells the CI service that it runs in, besides what it prints."""

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
    help="Annotate the source and append to the step's summary.  [default: github in GitHub Actions, else none]",
)


def tell(reports: Sequence[Report], ci: str | None, as_json: bool) -> None:
    """Prints annotations, unless standard output is one JSON document, and appends to the step's summary."""
    if (ci or (GITHUB if os.environ.get("GITHUB_ACTIONS") == "true" else NONE)) != GITHUB or not reports:
        return
    from faultlab.report.formats import github

    for line in [] if as_json else github.commands(reports):
        click.echo(line)
    if name := os.environ.get("GITHUB_STEP_SUMMARY"):
        file = Path(name)
        try:
            # Others of the same step may have written there.
            room = github.SUMMARY_BYTES - (file.stat().st_size if file.exists() else 0)
            with file.open("a", encoding="utf-8") as out:
                out.write(github.step_summary(reports, room))
        except OSError as error:
            click.echo(f"{file}: {error.strerror}; the step has no summary", err=True)
