"""``faultlab mutate``: changes the source, and reports which changes go undetected."""

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
from faultlab.config.scenario import Scenario, load_all
from faultlab.core.report import Report
from faultlab.core.shard import Shard
from faultlab.errors import BaselineError, FaultlabError, UsageError
from faultlab.mutants.mutation import Asked, SourceMutation

_SCENARIO = re.compile(r"^schema\s*:", re.MULTILINE)


@click.command("mutate")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="SCENARIO|PATH...",
    shell_complete=scenario_files,
)
@click.option(
    "--tests", multiple=True, metavar="PATH", help="The tests that judge.  [default: the scenario's, or pytest's]"
)
@click.option(
    "--function", "functions", multiple=True, metavar="GLOB", help="Only mutants of these, such as 'Lit*.forward'."
)
@click.option("--since", default="", metavar="REF", help="Only functions that are not as they were at this commit.")
@click.option("--shard", default="1/1", metavar="K/N", help="Only the k-th of n shares.")
@click.option("--again", is_flag=True, help="Judge anew what an earlier run has judged.")
@click.option("--also-copy", multiple=True, metavar="PATH", help="What tests need and git ignores, such as data.")
@options.jobs
@options.seed
@click.option("--timeout", type=Number(0.1), help="Deadline of a mutant, s.  [default: measured]")
@options.out
@click.option("--fail-under", type=Number(0, 1), metavar="SCORE", help="Fail where the score is less.")
@click.option("--advice/--no-advice", default=True, help="Have the ready-made guards watch too.  [default: yes]")
@ci_services.option
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Print one line.")
def command(paths: tuple[Path, ...], tests: tuple[str, ...], functions: tuple[str, ...], since: str, shard: str,
            again: bool, also_copy: tuple[str, ...], jobs: int | None, seed: int, timeout: float | None, out: Path,
            fail_under: float | None, advice: bool, ci: str | None, as_json: bool, quiet: bool) -> int:  # fmt: skip
    """Change the source, one small mutant at a time, and report which changes nobody detects.

    Of a SCENARIO the module's, its data's and the guards' files are mutated, and both its tests and its guards judge;
    PATHs of Python files beside it say what to mutate instead. PATHs alone are judged by their tests. All this happens
    in a copy of the project. mutmut makes the mutants.
    """
    scenarios, sources = _sorted(paths)
    asked = Asked(
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
            interrupted="interrupted: verdicts are kept, and the same command goes on from here",
            ci=ci,
        )


def carry_out(mutation: SourceMutation, progress: Progress, report: Report | None = None) -> tuple[Report | None, int]:
    """Mutates, writes the page, and shows what was found; what keeps it from being done is said."""
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
    """Scenarios and what to mutate; a folder is one of scenarios if it holds any."""
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
            raise UsageError(f"{path}: no such scenario, Python file or folder")
    if len(files) > 1 and sources:
        raise UsageError("files to mutate go with one scenario, whose code they are; here there are several")
    return (load_all(tuple(files)) if files else []), tuple(sources)


def _is_scenario(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml") and bool(
        _SCENARIO.search(file.read_text(encoding="utf-8", errors="replace"))
    )
