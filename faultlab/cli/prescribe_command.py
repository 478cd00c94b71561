"""``faultlab prescribe``: choose the fewest ready-made guards that detect the silent faults."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from faultlab import engines
from faultlab.campaign.campaign import Options
from faultlab.campaign.prescribing import SUFFIX, Prescriber, Prescription, harmful_ratio, thorough
from faultlab.catalogue.guard_index import RECORD
from faultlab.cli import options
from faultlab.cli.multi_run import told
from faultlab.cli.progress import Progress
from faultlab.cli.shell_completion import scenario_files
from faultlab.config.lint import require_targets
from faultlab.config.scenario import Scenario, load
from faultlab.config.scenario_editor import add_guards, lines
from faultlab.core.report import Report, dump
from faultlab.core.run_folder import KNOWN_FILE, folder_of
from faultlab.errors import FaultlabError
from faultlab.report import remedy
from faultlab.report.text import harmless, short

_LOOPS = "torch"
"""The framework of training loops without a Trainer, which guards watch by `faultlab.guards.watch`."""


@click.command("prescribe")
@click.argument(
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="[SCENARIO]",
    required=False,
    callback=options.only_scenario,
    shell_complete=scenario_files,
)
@options.select
@options.ignore
@click.option("--seeds", type=click.IntRange(3), default=10, show_default=True,
              help="Number of additional clean runs, each with another seed, in which the guards must raise no alarm. "
                   "With --records, the same number of clean runs is recorded for KnownGood.")  # fmt: skip
@click.option(
    "--early", is_flag=True, help="Detect each fault at the earliest possible step, even if this takes more guards."
)
@click.option("--records/--no-records", default=False,
              help="Also consider KnownGood, which compares a training with recorded runs.  [default: no]")  # fmt: skip
@click.option("--write", is_flag=True, help="Add the guards to SCENARIO.")
@options.jobs
@options.seed
@options.resume
@options.out
@options.engine
@options.no_warm
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print only the prescription.")
def command(file: Path, select: tuple[str, ...], skip: tuple[str, ...], seeds: int, early: bool, records: bool,
            write: bool, jobs: int | None, seed: int, resume: bool, out: Path, engine: str | None, no_warm: bool,
            as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Choose the fewest ready-made guards that detect the silent faults, and verify them.

    The first campaign runs SCENARIO with all ready-made guards. The second campaign adds the chosen guards to those of
    SCENARIO, and verifies their detections. A fault stays silent if no ready-made guard detects it. Most guards
    make several checks. A check that raises a false alarm in a clean run is switched off, and the guard keeps the
    others. The clean runs include some with changed settings, such as half or twice the batch size.

    KnownGood reads files of recorded runs; their paths are printed relative to the folder of SCENARIO. SCENARIO can be
    omitted if scenarios/ holds only one scenario.

    The verification fails if a chosen guard misses a fault that it detected before, or raises a false alarm. SCENARIO
    is then left as it is.

    Exit codes: 0 verified, 1 verification failed, 2 usage or scenario error, 3 the clean run failed, 130 interrupted.
    """
    scenario = load(file)
    require_targets([scenario])
    # The page of `faultlab run` is what users read while they wait for the prescription.
    options = Options(select, skip, seed, resume=resume, out=out, watch=thorough(seeds), keep_report=True)
    jobs = engines.checked_jobs(jobs)
    then = "after that, a second campaign of about the same length verifies the chosen guards"
    progress = Progress(quiet=quiet or as_json, silent=as_json, jobs=jobs, then=then)
    with progress:
        working = engines.create(engine or engines.default(), jobs)
        if not no_warm:
            working.keep_warm()
        prescriber = Prescriber(scenario, working, options, progress, early, records)
        try:
            found = prescriber.prescribe()
        except FaultlabError as error:
            raise told(error, file) from error
        finally:
            working.close()
    _write_pages(found, out)
    written = write and bool(found.chosen) and found.proven and not prescriber.interrupted
    if written:
        found = _write(scenario, found, out)
    if as_json:
        click.echo(dump(_plain(found, scenario), indent=1))
    else:
        _show(scenario, found, written, out)
        if prescriber.interrupted:
            click.secho(
                "Interrupted: these guards come from a part of the campaign, and are not verified. --resume continues.",
                fg="red",
            )
    return 130 if prescriber.interrupted else 0 if found.proven else 1


def _write_pages(found: Prescription, out: Path) -> None:
    from faultlab.report import files

    for report in filter(None, (found.before, found.after)):
        files.write(report, out)


def _write(scenario: Scenario, found: Prescription, out: Path) -> Prescription:
    """Add the guards to the scenario, copy their record beside it, and return the prescription with the new path."""
    kept = scenario.file.with_suffix(".known-good.json")
    chosen = [
        replace(one, arguments={**one.arguments, RECORD: str(kept.resolve())}) if RECORD in one.arguments else one
        for one in found.chosen
    ]
    if chosen != found.chosen:
        shutil.copyfile(folder_of(out, scenario.name, bool(found.before.selection)) / KNOWN_FILE, kept)
    found = replace(found, chosen=chosen)
    add_guards(scenario.file, _guards(found, scenario))
    return found


def _guards(found: Prescription, scenario: Scenario) -> list[dict[str, Any]]:
    """Return the guards as entries of the scenario, with paths relative to its file."""
    folder = scenario.file.resolve().parent
    given = {one.path: _relative(one.arguments, folder) for one in found.chosen}
    if remedy.trained_by(found.before) == _LOOPS:
        given = {path: remedy.without_metrics(some) for path, some in given.items()}
    return [{"class_path": path, **({"init_args": some} if some else {})} for path, some in given.items()]


def _relative(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the arguments with the record's path relative to a folder."""
    named = {RECORD: Path(os.path.relpath(arguments[RECORD], folder)).as_posix()} if RECORD in arguments else {}
    return {**arguments, **named}


def _show(scenario: Scenario, found: Prescription, written: bool, out: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not found.chosen:
        missed = found.beyond or found.recorded
        why = "no guard without false alarms detects the silent faults" if missed else "no fault is silent"
        if found.recorded:
            why = "only KnownGood detects silent faults"
        console.print(f"{scenario.name}: nothing to prescribe: {why}.")
        _show_missed(console, found)
        _show_idle(console, found)
        return
    count = len(found.chosen)
    where = f"added to {scenario.file}" if written else "add these lines under `guards:`"
    console.print(f"{scenario.name}: {count} guard{'s' * (count != 1)}; {escape(where)}")
    for line in lines(_guards(found, scenario)):
        console.print(f"  {escape(line)}")
    total = sum(one.cost for one in found.chosen)
    overhead = f"(overhead: {100 * total:.1f} % of the training time)"
    given = {one.guard: _relative(one.arguments, Path.cwd()) for one in found.chosen}
    worth = _worth(found)
    if scenario.framework == _LOOPS:
        by = remedy.trained_by(found.before)
        where = "around the training loop" if by == _LOOPS else "for the Trainer"
        console.print(f"or in Python, {where} {overhead}:")
        code = remedy.watching_code(given, worth) if by == _LOOPS else remedy.code([*given], given, by)
        for line in code.splitlines():
            console.print(f"  {escape(line)}".rstrip())
    else:
        console.print(f"or in Python, after `from faultlab import guards` {overhead}:")
        for guard, some in given.items():
            arguments = ", ".join(f"{name}={value!r}" for name, value in some.items())
            console.print(f"  [bold]guards.{guard}({escape(arguments)})[/bold],  # {worth[guard]}")
    if any(RECORD in one.arguments for one in found.chosen):
        console.print(
            "KnownGood can compare little if the training's settings differ from the scenario's. For a longer one, "
            "record its own\nruns with guards.KnownGoodRecorder, or omit --records."
        )
    _show_missed(console, found)
    _show_idle(console, found)
    if found.after is not None:
        _compare(console, found, found.after)
        page = folder_of(out, scenario.name + SUFFIX, bool(found.after.selection)) / "index.html"
        console.print(f"  {escape(str(page))}")


def _show_missed(console: Console, found: Prescription) -> None:
    if found.recorded:
        console.print(f"only KnownGood detects these, with --records: {escape(', '.join(found.recorded))}")
    if found.beyond:
        console.print(f"no guard detects these without false alarms: {escape(', '.join(found.beyond))}")


def _worth(found: Prescription) -> dict[str, str]:
    """Return what each chosen guard detects and costs, by its name."""
    silent = {fault.id for fault in found.before.silent()}
    worth: dict[str, str] = {}
    for one in found.chosen:
        count = len(silent.intersection(one.detects))
        warned = f" and {len(one.detects) - count} that only caused a warning" if len(one.detects) > count else ""
        faults = f"{count} of {len(silent)} silent fault{'s' * (len(silent) != 1)}{warned}"
        worth[one.guard] = f"{faults}; overhead {100 * one.cost:.1f} %"
    return worth


def _show_idle(console: Console, found: Prescription) -> None:
    for _, why in sorted(found.advice.idle.items()):
        reason = why.replace(" looked 0 times, and skipped looks:", ":")
        console.print(f"never active: {escape(harmless(short(reason)))}")


def _compare(console: Console, found: Prescription, after: Report) -> None:
    for name, report in (("without these guards", found.before), ("with these guards", after)):
        ratio, harmful = report.ratio or 0.0, harmful_ratio(report)
        alarms = len(report.baseline.false_alarms)
        of_harmful = f" ({harmful:.2f} of the harmful failure modes)" if harmful is not None else ""
        runs = f"{len(report.baseline.seeds)} clean runs with different seeds and in others with changed settings"
        false = f"{alarms} false alarm{'s' * (alarms != 1)}"
        console.print(f"{name}: coverage {ratio:.2f}{of_harmful}; {false} in {runs}")
    for promise in found.broken:
        console.print(f"[red]not verified:[/red] {escape(promise)} was not detected by the chosen guards")
    if not found.proven:
        console.print(
            "[red]not verified[/red], so the scenario was not changed. Add the guards by hand, except those named here."
        )
    for alarm in after.baseline.false_alarms:
        console.print(f"[red]false alarm[/red] by {escape(alarm.name)}: {escape(alarm.message)}")


def _plain(found: Prescription, scenario: Scenario) -> dict[str, Any]:
    after = found.after
    return {
        "scenario": found.before.scenario,
        "guards": [
            {**guard, "cost": one.cost, "detects": list(one.detects)}
            for guard, one in zip(_guards(found, scenario), found.chosen)
        ],
        "beyond": found.beyond,
        "recorded": found.recorded,
        "broken": found.broken,
        "proven": found.proven,
        "idle": found.advice.idle,
        "coverage": {
            name: {"all": report.ratio, "harmful": harmful_ratio(report)}
            for name, report in (("before", found.before), ("after", after))
            if report is not None
        },
        "false_alarms": [alarm.as_false_alarm() for alarm in after.baseline.false_alarms] if after else [],
    }
