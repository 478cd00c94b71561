"""``faultlab mutate``: mutate source code and report the undetected mutants."""

from __future__ import annotations

import re
from pathlib import Path

import click

from faultlab import engines
from faultlab.campaign.healthy_runs import Watch
from faultlab.cli import ci_services, options
from faultlab.cli.multi_run import each
from faultlab.cli.param_types import Number
from faultlab.cli.progress import Progress
from faultlab.cli.shell_completion import scenario_files
from faultlab.config.lint import load_checked
from faultlab.config.scenario import Scenario, find
from faultlab.core.report import Report
from faultlab.core.shard import Shard
from faultlab.errors import BaselineError, FaultlabError, UsageError
from faultlab.mutants.mutation import MutationOptions, SourceMutation

_SCENARIO = re.compile(r"^schema\s*:", re.MULTILINE)


@click.command("mutate")
@click.argument(
    "paths",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[SCENARIO|PATH]...",
    shell_complete=scenario_files,
)
@click.option(
    "--tests",
    multiple=True,
    metavar="PATH",
    help="Run these tests (repeatable).  [default: the scenario's, or those that pytest collects]",
)
@click.option(
    "--function",
    "functions",
    multiple=True,
    metavar="GLOB",
    help="Mutate only these functions, such as 'Lit*.forward' (repeatable).",
)
@click.option("--since", default="", metavar="REF", help="Mutate only functions that changed since this commit.")
@click.option("--shard", default="1/1", metavar="K/N", help="Judge only part K of N of the mutants.")
@click.option("--again", is_flag=True, help="Discard the verdicts of earlier runs.")
@click.option(
    "--also-copy",
    multiple=True,
    metavar="PATH",
    help="Also copy this file or folder, if tests need it but git ignores it (repeatable).",
)
@options.jobs
@options.seed
@click.option(
    "--timeout", type=Number(0.1), help="Time limit of a mutant in seconds.  [default: measured on a clean run]"
)
@options.out
@click.option(
    "--fail-under",
    type=Number(0, 1),
    metavar="SCORE",
    help="Fail if the mutation score (the share of mutants that are detected) is below this ratio.",
)
@click.option(
    "--advice/--no-advice",
    default=True,
    help="Let the ready-made guards watch each run, and recommend those that detect more mutants.  [default: yes]",
)
@ci_services.option
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print one line per scenario.")
def command(paths: tuple[Path, ...], tests: tuple[str, ...], functions: tuple[str, ...], since: str, shard: str,
            again: bool, also_copy: tuple[str, ...], jobs: int | None, seed: int, timeout: float | None, out: Path,
            fail_under: float | None, advice: bool, ci: str | None, as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Mutate source code, one small change at a time, and report the mutants that no test or guard detects.

    With a SCENARIO, a mutant is detected if one of the scenario's tests or guards fails because of it. The files that
    define the scenario's module or loop, its data and its guards are mutated, or only the PATHs if any are given.
    Without a SCENARIO, the PATHs are mutated and the project's tests are run. Without any argument, the scenarios in
    scenarios/ are used.

    Everything runs in a copy of the project. mutmut, which is installed with faultlab, generates the mutants.
    """
    scenarios, sources = _sorted(paths or tuple(find(())))
    asked = MutationOptions(
        paths=sources,
        tests=tests,
        functions=functions,
        also_copy=also_copy,
        since=since,
        shard=Shard.parse(shard),
        again=again,
        seed=seed,
        timeout=timeout,
        out=out,
        fail_under=fail_under,
        watch=Watch(advised=advice),
    )
    progress = Progress(quiet=quiet or as_json, silent=as_json)
    with progress:
        working = engines.create(engines.default(), engines.checked_jobs(jobs))
        return each(
            scenarios or (None,),
            lambda scenario: carry_out(SourceMutation(asked, working, progress, scenario), progress),
            working,
            as_json,
            interrupted="interrupted: verdicts are kept; run the same command to continue",
            ci=ci,
            errors=progress.errors,
        )


def carry_out(mutation: SourceMutation, progress: Progress, report: Report | None = None) -> tuple[Report | None, int]:
    """Judge the mutants, write the page and print the findings, or the error that prevented it."""
    from faultlab.report import files

    try:
        report = mutation.run(report)
    except (FaultlabError, BaselineError) as error:
        progress.failed(error)
        return None, error.exit_code
    page = files.write(report, mutation.asked.out)
    progress.mutated(report, page)
    return report, mutation.exit_code(report)


def _sorted(paths: tuple[Path, ...]) -> tuple[list[Scenario], tuple[Path, ...]]:
    """Return the scenarios and the sources among the paths; a folder with a scenario in it counts as scenarios."""
    files: list[Path] = []
    sources: list[Path] = []
    for path in paths:
        if path.suffix in (".yaml", ".yml"):
            files.append(path)
        elif path.is_dir() and (found := [file for file in sorted(path.rglob("*.y*ml")) if _is_scenario(file)]):
            files += found
        elif path.exists():
            sources.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    if len(files) > 1 and sources:
        raise UsageError("files to mutate can be combined with one scenario only, and there are several")
    return load_checked(tuple(files)) if files else [], tuple(sources)


def _is_scenario(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml") and bool(
        _SCENARIO.search(file.read_text(encoding="utf-8", errors="replace"))
    )
