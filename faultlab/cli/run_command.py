"""``faultlab run``: carries out scenarios and reports which faults were detected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from faultlab import engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.live import Live
from faultlab.cli import ci_services, options
from faultlab.cli.multi_run import INTERRUPTED, each, told
from faultlab.cli.param_types import Number
from faultlab.cli.progress import Progress
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.cli.shell_completion import scenario_files
from faultlab.config.fault_patterns import check_pattern
from faultlab.config.scenario import Scenario, load_all
from faultlab.core.reason import Reason
from faultlab.core.report import Report
from faultlab.core.shard import Shard
from faultlab.errors import FaultlabError, UsageError
from faultlab.gate import affected
from faultlab.gate.baseline_check import missing
from faultlab.gate.baseline_file import Accepted, read
from faultlab.gate.demands import exit_code, gravest


@click.command("run", cls=WithScriptArguments)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...", shell_complete=scenario_files)
@options.select
@options.ignore
@options.jobs
@options.seed
@click.option("--timeout", type=Number(0.1), help="Deadline of a faulted run, s.  [default: measured]")
@click.option("--resume", is_flag=True, help="Go on with an interrupted campaign.")
@options.out
@options.engine
@options.no_warm
@click.option("--fail-under", type=Number(0, 1), metavar="RATIO", help="Fail where coverage is less.")
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False), help="What was accepted: nothing is lost.")
@click.option("--shard", default="1/1", metavar="K/N", help="Only the k-th of n shares; `faultlab merge` joins them.")
@click.option("--since", default="", metavar="REF", help="Only scenarios whose code was touched since this commit.")
@click.option("--advice/--no-advice", default=True, help="Have the ready-made guards watch too.  [default: yes]")
@click.option(
    "--mutants/--no-mutants",
    default=True,
    help="Where the scenario or its gate asks for source mutants.  [default: yes]",
)
@click.option("--live", is_flag=True, help="Update the page while the campaign runs; print its address.")
@click.option("--lesson", is_flag=True, help="Write lesson.html too, which hides what was broken until it is guessed.")
@ci_services.option
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print one line a scenario.")
def command(paths: tuple[Path, ...], select: tuple[str, ...], skip: tuple[str, ...], jobs: int | None, seed: int,
            timeout: float | None, resume: bool, out: Path, engine: str | None, no_warm: bool, fail_under: float | None,
            baseline: Path | None, shard: str, since: str, advice: bool, mutants: bool, live: bool, lesson: bool,
            ci: str | None, as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Break the modules of the scenarios at PATH (files or folders, default: scenarios/) and report who detected.

    A scenario imports and runs the code that it names. What follows -- after a PATH are arguments for the scenarios'
    training scripts, in place of those that the scenarios have.

    With --baseline a report does not pass that has lost something of what was accepted by `faultlab gate --accept`;
    where PATHs are folders, no scenario may be missing either. With --since a scenario is left out whose file, code and
    tests are as they were, as far as imports tell; where all are, nothing is run, and the status is 0.
    """
    asked = [(pattern, True) for pattern in select] + [(pattern, False) for pattern in skip]
    for pattern, whole_faults in asked:
        if (wrong := check_pattern(pattern, whole_faults)) is not None:
            raise click.UsageError(". ".join(filter(None, wrong)))
    share = Shard.parse(shard)
    accepted = _accepted(baseline, bool(select or skip or share.of > 1))
    scenarios = [scenario.with_arguments(script_arguments()) for scenario in load_all(paths)]
    whole = not paths or any(map(Path.is_dir, paths))
    names = [scenario.name for scenario in scenarios]
    gone = missing(accepted, names, run=True) if accepted is not None and whole else []
    if since and not (scenarios := _touched(scenarios, since, as_json)):
        click.echo("[]" if as_json else f"nothing was touched since {since}: no scenario to run")
        return _lost(gone)
    options = Options(select, skip, seed, timeout, resume, out, fail_under, Watch(advised=advice), share, accepted)
    progress = Progress(quiet=quiet or as_json, silent=as_json)

    def carry_out(scenario: Scenario) -> tuple[Report | None, int]:
        report, status = _carry_out(scenario, working, options, progress, lesson, live)
        asks = scenario.mutants is not None or scenario.gate.mutants is not None
        if report is None or not mutants or not asks or status == INTERRUPTED:
            return report, status
        report, mutated = _mutate(scenario, working, options, progress, report)
        return report, gravest((status, mutated))

    with progress:
        working = engines.create(engine or engines.default(), engines.checked_jobs(jobs))
        if not no_warm:
            working.keep_warm()
        working.alone = len(scenarios) == 1
        status = each(scenarios, carry_out, working, as_json, ci=ci)
    if baseline is not None and status == 0 and not gone and not as_json:
        click.echo(f"nothing is lost that {baseline} has")
    return gravest((status, _lost(gone)))


def _lost(gone: Sequence[Reason]) -> int:
    """Says which scenarios are missing, last of all: none of the others' gates can tell; returns the status for it."""
    for reason in gone:
        click.echo(f"NOT passed: {reason.text}", err=True)
    return 1 if gone else 0


def _accepted(baseline: Path | None, narrowed: bool) -> Accepted | None:
    if baseline is not None and narrowed:
        remedy = "Run without --select, --ignore and --shard, or join the shares and ask `faultlab gate --baseline`."
        raise UsageError(f"--baseline is about whole scenarios\n    {remedy}")
    return read(baseline) if baseline is not None else None


def _touched(scenarios: list[Scenario], ref: str, as_json: bool) -> list[Scenario]:
    """Those that rest on something that changed; what is left out, and what for the others are run, is said."""
    found = []
    for scenario in scenarios:
        file = affected.since(ref, scenario)
        if file:
            found.append(scenario)
        why = f"{file} was touched" if file else f"left out, untouched since {ref}"
        click.echo(f"{scenario.name}: {why}", err=as_json)
    return found


def _mutate(
    scenario: Scenario, working: engines.Engine, options: Options, progress: Progress, report: Report
) -> tuple[Report, int]:
    """The source mutants of a scenario, put into the report of its campaign."""
    from faultlab.cli.mutate_command import carry_out
    from faultlab.mutants.mutation import Asked, SourceMutation

    asked = Asked(seed=options.seed, timeout=options.timeout, out=options.out, watch=options.watch, shard=options.shard)
    mutated, status = carry_out(SourceMutation(asked, working, progress, scenario), progress, report)
    return mutated or report, status


def _carry_out(
    scenario: Scenario, working: engines.Engine, options: Options, progress: Progress, lesson: bool, live: bool
) -> tuple[Report | None, int]:
    """One scenario; what is wrong with it is said, and does not keep the others from being carried out."""
    from faultlab.report import files

    page_of_run = Live(progress, options.out, lambda address: click.echo(f"{scenario.name}: {address}", err=True))
    campaign = Campaign(scenario, working, options, page_of_run if live else progress)
    try:
        with page_of_run:
            report = campaign.run()
    except FaultlabError as error:
        progress.failed(told(error, scenario.file))
        return None, error.exit_code
    page = files.write(report, options.out, lesson)
    progress.finished(report, page)
    return report, INTERRUPTED if campaign.interrupted else exit_code(report)
