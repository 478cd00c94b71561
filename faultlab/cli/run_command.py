"""``faultlab run``: inject the faults of scenarios and report which were detected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from faultlab import engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.live_page import Live
from faultlab.cli import ci_services, options
from faultlab.cli.multi_run import INTERRUPTED, each, told
from faultlab.cli.param_types import Number
from faultlab.cli.progress import Progress
from faultlab.cli.script_arguments import WithScriptArguments, script_arguments
from faultlab.cli.shell_completion import scenario_files
from faultlab.config.fault_patterns import check_pattern
from faultlab.config.lint import require_targets
from faultlab.config.scenario import Scenario, load_all
from faultlab.core.reason import Reason
from faultlab.core.report import Report
from faultlab.core.shard import Shard
from faultlab.errors import FaultlabError, UsageError
from faultlab.gate import affected
from faultlab.gate.baseline_check import missing
from faultlab.gate.baseline_file import read
from faultlab.gate.demands import exit_code, gravest


@click.command("run", cls=WithScriptArguments)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...", shell_complete=scenario_files)
@options.select
@options.ignore
@options.jobs
@options.seed
@click.option(
    "--timeout", type=Number(0.1), help="Time limit of a faulted run in seconds.  [default: measured on a clean run]"
)
@options.resume
@options.out
@options.engine
@options.no_warm
@click.option("--fail-under", type=Number(0, 1), metavar="RATIO", help="Fail if coverage is below this ratio.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Fail on any regression from this baseline file.",
)
@click.option(
    "--shard",
    default="1/1",
    metavar="K/N",
    help="Run only part K of N of the faults. `faultlab merge` combines the reports of all parts.",
)
@click.option("--since", default="", metavar="REF", help="Skip scenarios that did not change since this commit.")
@click.option(
    "--advice/--no-advice",
    default=True,
    help="Let the ready-made guards watch each run, and recommend those that detect silent faults.  [default: yes]",
)
@click.option(
    "--mutants/--no-mutants",
    default=True,
    help="Also try small changes of your source code (mutants), if the scenario asks for them.  [default: yes]",
)
@click.option("--live", is_flag=True, help="Print the address of the report page, and update the page during the run.")
@click.option("--lesson", is_flag=True, help="Also write lesson.html, a quiz that hides each fault until you guess it.")
@ci_services.option
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print one line per scenario.")
def command(paths: tuple[Path, ...], select: tuple[str, ...], skip: tuple[str, ...], jobs: int | None, seed: int,
            timeout: float | None, resume: bool, out: Path, engine: str | None, no_warm: bool, fail_under: float | None,
            baseline: Path | None, shard: str, since: str, advice: bool, mutants: bool, live: bool, lesson: bool,
            ci: str | None, as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Inject the faults of the scenarios at PATH (files or folders, default: scenarios/) and report which are detected.

    Running a scenario imports and runs the code that it names. If the code is a script, the arguments after --
    replace those in the scenario.

    With --select or --ignore, the report is partial. A partial report is written to reports/SCENARIO/selected, so the
    complete report is kept. `faultlab gate` rejects partial reports.

    --baseline takes a file that `faultlab gate --accept` wrote. `faultlab gate --help` explains regressions.

    With --since, a scenario is skipped if its file, its tests and the code that it imports did not change. If all
    scenarios are skipped, the exit code is 0.
    """
    asked = [(pattern, True) for pattern in select] + [(pattern, False) for pattern in skip]
    for pattern, whole_faults in asked:
        if (wrong := check_pattern(pattern, whole_faults)) is not None:
            raise click.UsageError(". ".join(filter(None, wrong)))
    share = Shard.parse(shard)
    if select or skip or share.of > 1:
        _refuse_baseline(baseline)
        baseline = None
    accepted = read(baseline) if baseline is not None else None
    scenarios = [scenario.with_arguments(script_arguments()) for scenario in load_all(paths)]
    whole = not paths or any(map(Path.is_dir, paths))
    names = [scenario.name for scenario in scenarios]
    gone = missing(accepted, names, run=True) if accepted is not None and whole else []
    if since and not (scenarios := _touched(scenarios, since, as_json)):
        click.echo("[]" if as_json else f"no scenario to run: nothing changed since {since}")
        return _lost(gone)
    require_targets(scenarios)
    options = Options(select, skip, seed, timeout, resume, out, fail_under, Watch(advised=advice), share, accepted)
    jobs = engines.checked_jobs(jobs)
    progress = Progress(quiet=quiet or as_json, silent=as_json, jobs=jobs)

    def carry_out(scenario: Scenario) -> tuple[Report | None, int]:
        report, status = _carry_out(scenario, working, options, progress, lesson, live)
        asks = scenario.mutants is not None or scenario.gate.mutants is not None
        if report is None or not mutants or not asks or status == INTERRUPTED:
            return report, status
        report, mutated = _mutate(scenario, working, options, progress, report)
        return report, gravest((status, mutated))

    with progress:
        working = engines.create(engine or engines.default(), jobs)
        if not no_warm:
            working.keep_warm()
        working.alone = len(scenarios) == 1
        status = each(scenarios, carry_out, working, as_json, ci=ci, errors=progress.errors)
    if baseline is not None and status == 0 and not gone and not as_json:
        click.echo(f"no regression from {baseline}")
    return gravest((status, _lost(gone)))


def _lost(gone: Sequence[Reason]) -> int:
    """Print the missing scenarios, which no other gate reports, and return the status for them."""
    for reason in gone:
        click.echo(f"NOT passed: {reason.text}", err=True)
    return 1 if gone else 0


def _refuse_baseline(baseline: Path | None) -> None:
    """Raise UsageError for a baseline on the command line; one of pyproject.toml or the environment doesn't apply."""
    source = click.get_current_context().get_parameter_source("baseline")
    if baseline is not None and source is ParameterSource.COMMANDLINE:
        remedy = "Run without --select, --ignore and --shard, or merge the shards and run `faultlab gate --baseline`."
        raise UsageError(f"--baseline needs complete runs\n    {remedy}")


def _touched(scenarios: list[Scenario], ref: str, as_json: bool) -> list[Scenario]:
    """Return the scenarios that depend on a changed file, and print the reason for each one."""
    found = []
    for scenario in scenarios:
        file = affected.since(ref, scenario)
        if file:
            found.append(scenario)
        why = f"{file} changed" if file else f"skipped, unchanged since {ref}"
        click.echo(f"{scenario.name}: {why}", err=as_json)
    return found


def _mutate(
    scenario: Scenario, working: engines.Engine, options: Options, progress: Progress, report: Report
) -> tuple[Report, int]:
    """Judge a scenario's source mutants and add them to its report."""
    from faultlab.cli.mutate_command import carry_out
    from faultlab.mutants.mutation import MutationOptions, SourceMutation

    asked = MutationOptions(
        seed=options.seed, timeout=options.timeout, out=options.out, watch=options.watch, shard=options.shard
    )
    mutated, status = carry_out(SourceMutation(asked, working, progress, scenario), progress, report)
    return mutated or report, status


def _carry_out(
    scenario: Scenario, working: engines.Engine, options: Options, progress: Progress, lesson: bool, live: bool
) -> tuple[Report | None, int]:
    """Run one scenario; print its error, so that the others still run."""
    from faultlab.report import files

    page_of_run = Live(progress, options, lambda address: click.echo(f"{scenario.name}: {address}", err=True))
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
