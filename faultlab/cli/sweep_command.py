"""``faultlab sweep``: find the smallest dose that each guard detects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from faultlab import engines
from faultlab.campaign.campaign import Options
from faultlab.campaign.sweeping import SWEEP_FILE, Sweep, dose_of, mode_of
from faultlab.cli import options
from faultlab.cli.multi_run import told
from faultlab.cli.progress import Progress
from faultlab.cli.shell_completion import failure_modes
from faultlab.config.lint import require_targets
from faultlab.config.scenario import Scenario, load
from faultlab.core import atomic_write
from faultlab.core.report import dump
from faultlab.core.run_folder import folder_of, report_in
from faultlab.errors import FaultlabError


@click.command("sweep")
@click.argument("mode", metavar="FAILURE_MODE", shell_complete=failure_modes)
@options.scenario
@click.option(
    "--dose",
    default="",
    metavar="NAME",
    help="Name of the dose to vary, if the failure mode has several.  [default: the first]",
)
@options.jobs
@options.seed
@options.out
@options.engine
@options.no_warm
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print only the table.")
def command(mode: str, file: Path, dose: str, jobs: int | None, seed: int, out: Path, engine: str | None, no_warm: bool,
            as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Find, for each guard, the weakest fault of FAILURE_MODE that it still detects.

    The dose is how strong a fault is, such as the share of labels that label.noisy changes. The smallest dose is found
    by bisection. The fault is also injected at different steps, to find the steps of the training at which a guard
    would miss it.

    The guards are the scenario's own and all ready-made ones. A chart of the metric for each dose is added to the
    scenario's report.
    """
    swept = mode_of(mode)
    scenario = load(file)
    require_targets([scenario])
    jobs = engines.checked_jobs(jobs)
    progress = Progress(quiet=quiet or as_json, silent=as_json, jobs=jobs)
    with progress:
        working = engines.create(engine or engines.default(), jobs)
        if not no_warm:
            working.keep_warm()
        working.alone = True
        sweep = Sweep(scenario, working, Options(seed=seed, out=out), progress, swept, dose_of(swept, dose))
        try:
            report = sweep.run()
        except FaultlabError as error:
            raise told(error, file) from error
        finally:
            working.close()
    found = sweep.to_json(report)
    folder = out / scenario.name / "sweeps" / swept.id
    atomic_write.write(folder / SWEEP_FILE, dump(found, indent=1))
    _refresh(scenario, out)
    if as_json:
        click.echo(dump(found, indent=1))
    else:
        _show(found)
        if not quiet:
            click.echo(f"  {folder / SWEEP_FILE}")
    if sweep.interrupted:
        return 130
    if not (found["doses"] or found["steps"]):
        why = next((f"{fault.status.value}: {fault.reason}" for fault in report.faults), "no fault was run")
        click.echo(f"{scenario.name}: can't sweep {swept.id}: {why}", err=True)
        return 4
    return 0


def _refresh(scenario: Scenario, out: Path) -> None:
    """Draw the curve in the scenario's report, if there is one."""
    from faultlab.core.report import Report
    from faultlab.report import files

    if file := report_in(folder_of(out, scenario.name)):
        files.write(Report.read(file), out)


def _show(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    tried = f"{len(found['doses'])} doses, {len(found['steps'])} steps"
    table = Table(title=f"{found['mode']}: {tried} tried", title_justify="left", box=SIMPLE)
    columns = [
        "detected by",
        f"smallest {found['dose']}" if found["dose"] else "",
        "largest missed",
        "detected at steps",
        "one-step fault at steps",
    ]
    for column in columns:
        table.add_column(column)
    ranked = sorted(found["detectors"].items(), key=lambda item: (item[1]["smallest"] is None, str(item[0])))
    for name, entry in ranked:
        smallest, missed = entry["smallest"], entry["largest_missed"]
        table.add_row(
            name,
            "" if smallest is None else f"{smallest:g}",
            "" if missed is None else f"{missed:g}",
            f"{entry['first_detection']} to {entry['last_detection']}",
            "" if entry["first_step"] is None else f"{entry['first_step']} to {entry['last_step']}",
        )
    console.print(table)
