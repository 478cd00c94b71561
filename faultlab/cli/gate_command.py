"""``faultlab gate``: check whether reports pass, and accept them as the baseline."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from faultlab.catalogue.failure_mode import SEVERITIES
from faultlab.cli import options
from faultlab.cli.param_types import Number
from faultlab.core.demands import Demands
from faultlab.core.report import dump
from faultlab.errors import UsageError
from faultlab.gate.baseline_file import DEFAULT_NAME, default_file
from faultlab.gate.judgement import Judged, judge
from faultlab.report.overview import one_line, target_lines
from faultlab.report.text import harmless


def _limits(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    limits = {}
    for text in texts:
        level, _, number = text.partition("=")
        if level not in SEVERITIES or not number.isdecimal():
            raise click.BadParameter(
                f"invalid limit {text!r}: expected SEVERITY=N with {', '.join(SEVERITIES)}, such as critical=0"
            )
        limits[level] = int(number)
    return limits


@click.command("gate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[REPORT]...")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Fail on any regression from this baseline file.",
)
@click.option(
    "--accept",
    is_flag=True,
    help=f"Write the detections of the reports to the baseline file.  [default: scenarios/{DEFAULT_NAME}]",
)
@click.option(
    "--reason", default="", metavar="TEXT", help="With --accept: the reason to accept the silent failure modes."
)
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="With --accept: the last day of the acceptance.")
@click.option("--fail-under", type=Number(0, 1), metavar="RATIO", help="Fail if coverage is below this ratio.")
@click.option(
    "--silent",
    multiple=True,
    callback=_limits,
    metavar="SEVERITY=N",
    help="Maximum number of silent failure modes, such as critical=0 (repeatable).",
)
@click.option(
    "--latency",
    type=click.IntRange(0),
    metavar="N",
    help="Maximum number of steps from a fault to its first detection.",
)
@click.option(
    "--false-alarms",
    type=click.IntRange(0),
    metavar="N",
    help="Allow this many false alarms.  [default: as in the scenario, else 0]",
)
@options.as_json
def command(paths: tuple[Path, ...], baseline: Path | None, accept: bool, reason: str,
            expires: datetime.datetime | None, fail_under: float | None, silent: dict[str, int], latency: int | None,
            false_alarms: int | None, as_json: bool) -> int:  # fmt: skip
    """Check whether reports pass.

    A REPORT is a report.json file, its folder, or a folder that holds several (default: reports).

    A report passes if it meets the `gate:` of its scenario and the limits given here. With --baseline, it also
    fails for any of these reasons:

    \b
    - A failure mode became silent, or is no longer injected.
    - A guard or test misses a fault that it used to detect.
    - A scenario of the baseline file has no report.
    - The acceptance of a silent failure mode (--accept) has expired.
    - The `gate:` of a scenario is weaker than in the baseline file.
    - A failure mode that was accepted as silent is now detected. That is an
      improvement, but the baseline file is out of date: remove its entry, or
      run --accept again.

    These reports are rejected: a report that was modified after it was written, a report that doesn't match the
    plan and the outcomes stored beside it, and a partial report, which `faultlab run --select` or --ignore wrote.

    Exit codes: 0 passed, 1 not passed, 2 usage error, 3 false alarms, 4 inconclusive (a fault could not be
    judged).
    """
    if accept and baseline is None:
        baseline = default_file()
    if (reason or expires) and not accept:
        raise UsageError("--reason and --expires require --accept")
    demands = Demands(silent=silent, latency=latency, false_alarms=false_alarms, fail_under=fail_under)
    judged = judge(paths, demands)
    if accept and baseline is not None:
        return _accept(judged, baseline, reason, expires, as_json)
    if baseline is not None:
        judged.compare(baseline)
    if as_json:
        click.echo(dump(judged.to_json(), indent=1))
        return judged.exit_code
    for one in judged.reports:
        if one.report is not None:
            click.echo(harmless(one_line(one.report)))
        for why in one.reasons:
            click.echo(f"  {harmless(why.text)}")
        for line in target_lines(one.report.baseline.findings) if one.report is not None else ():
            click.echo(f"  note: {harmless(line)}")
        if one.report is not None and not one.whole:
            click.echo(f"  note: {one.file} has no plan and outcomes beside it: only its digest was checked")
    for why in judged.reasons:
        click.echo(harmless(why.text))
    _tell_left_out(judged)
    click.echo("gate passed" if judged.exit_code == 0 else "gate NOT passed")
    return judged.exit_code


def _tell_left_out(judged: Judged) -> None:
    for file, study in judged.left_out.items():
        click.echo(harmless(f"skipped: {file.parent}: written by `faultlab {study}`, not from a scenario of yours"))


def _accept(judged: Judged, baseline: Path, reason: str, expires: datetime.datetime | None, as_json: bool) -> int:
    day = expires.date() if expires is not None else None
    changes = judged.accept(baseline, reason, day)
    if as_json:
        click.echo(dump({"baseline": str(baseline), "changes": changes}, indent=1))
        return 0
    for said in changes:
        click.echo(f"  {harmless(said)}")
    _tell_left_out(judged)
    click.echo(f"{baseline}: {'written; commit it with the change that it belongs to' if changes else 'unchanged'}")
    return 0
