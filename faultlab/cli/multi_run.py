"""Several scenarios in turn with one engine, and the exit code of all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from faultlab.cli import ci_services
from faultlab.core.report import Report, dump
from faultlab.engines import Engine
from faultlab.errors import BaselineError, FaultlabError, Problem, ScenarioError
from faultlab.gate.demands import gravest

One = TypeVar("One")
INTERRUPTED = 130


def told(error: FaultlabError, file: Path) -> FaultlabError:
    """Return the error as it is reported: a failed clean run gets the scenario's file and a next step."""
    if not isinstance(error, BaselineError):
        return error
    remedy = f"Find the cause with `faultlab doctor {file}`."
    found = ScenarioError([Problem(str(file), 1, 1, str(error), remedy)])
    found.kind, found.exit_code = error.kind, error.exit_code
    return found


def each(
    scenarios: Iterable[One],
    carry_out: Callable[[One], tuple[Report | None, int]],
    engine: Engine,
    as_json: bool,
    interrupted: str = "",
    ci: str | None = None,
    errors: Sequence[Exception] = (),
) -> int:
    """Run the scenarios until one is interrupted, close the engine, and return the most severe status.

    With ``as_json`` the reports are printed as one document, followed by the ``errors`` of other scenarios.
    ``interrupted`` is the message for an interruption that printed none. ``ci`` is the service that gets the findings.
    """
    reports: list[Report] = []
    statuses: list[int] = []
    try:
        for scenario in scenarios:
            report, status = carry_out(scenario)
            statuses.append(status)
            if report is not None:
                reports.append(report)
            if status == INTERRUPTED:
                break
    except KeyboardInterrupt:
        if interrupted:
            click.echo(interrupted, err=True)
        statuses.append(INTERRUPTED)
    finally:
        engine.close()
    if as_json:
        failed = [{"error": error.to_json()} for error in errors if isinstance(error, FaultlabError)]
        click.echo(dump([*(report.to_json() for report in reports), *failed], indent=1))
    ci_services.tell(reports, ci, as_json)
    return gravest(statuses)
