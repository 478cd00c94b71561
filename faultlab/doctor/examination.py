"""The examination of a scenario, a script or a class, from its file to the end of its training. The driver's side."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faultlab import engines
from faultlab.campaign import nondeterminism
from faultlab.campaign.applicability_survey import CLASS_PATH, bare, from_working_directory
from faultlab.campaign.clean_runs import order
from faultlab.config.lint import require_trainer
from faultlab.config.scenario import Scenario, load, project_root
from faultlab.config.source_lookup import file_of
from faultlab.config.target_check import refused_ranks
from faultlab.core.close_files import did_you_mean, misspelled
from faultlab.core.exit_status import in_words
from faultlab.core.orders import Examine, Train
from faultlab.core.results import ExaminedRun, Outcome, RunResult
from faultlab.discovery import candidates, cli_config
from faultlab.discovery.project_index import Found
from faultlab.doctor import on_ranks, options, statements, step_not_executed
from faultlab.doctor.class_weights import CLASS_WEIGHTS
from faultlab.doctor.delivered import PROMISES, SCHEDULE
from faultlab.doctor.drawn import DRAWN
from faultlab.doctor.errors import explained
from faultlab.doctor.experiments import by_trainer
from faultlab.doctor.finding import OK, WRONG, Finding, Seen, attention, fine, wrong
from faultlab.doctor.habits import HABITS
from faultlab.doctor.idle import IDLE
from faultlab.doctor.loaded import LOADED
from faultlab.doctor.loops import examination as loops
from faultlab.doctor.made_of import PARTS
from faultlab.doctor.meddled import MEDDLED
from faultlab.doctor.metrics import METRICS
from faultlab.doctor.onlooking import ADVICE, ALARMS
from faultlab.doctor.rates import RATES
from faultlab.doctor.replayed import REPLAYED
from faultlab.doctor.scripts import SCRIPTS
from faultlab.doctor.sources import scripts
from faultlab.doctor.step_executed import HOOKS, LEARNING, LOSS_VALUES
from faultlab.doctor.still import WEIGHTS
from faultlab.doctor.swallowed import SWALLOWED, as_consequences
from faultlab.doctor.told import TOLD
from faultlab.doctor.unread_tokens import UNREAD_TOKENS
from faultlab.doctor.whole import rehearsal
from faultlab.doctor.whole.checks import beyond
from faultlab.engines import Engine
from faultlab.errors import NEVER_FITS, ScenarioError, TargetError, UsageError

# A script trains for hours, but most causes of a step that is not executed show from the beginning.
_WHOLE, _OF_A_SCRIPT = sys.maxsize, 100
_STACK = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
_ELSEWHERE = ("site-packages", "dist-packages", "/lib/python", "/faultlab/", "<frozen", "<string>")


def examine(
    target: str, timeout: float, seed: int = 0, engine: Engine | None = None, arguments: Sequence[str] = ()
) -> Iterator[Finding]:
    """Yield the findings in the order of the checks.

    Args:
        target: A scenario file, a training script, a config file of LightningCLI or a class.
        timeout: Deadline of a training, s.
        seed: Seed of the training.
        engine: Executes the runs, and stays open; by default one is created and closed.
        arguments: The command line for the script.

    Raises:
        UsageError: The target is none of these.
    """
    path, steps = Path(target), _WHOLE
    loop = loops.of_file(target, arguments)
    # `faultlab init` takes file.py:Class and package:Class too.
    target = target if path.exists() else target.replace(":", ".")
    if loop is not None:
        scenario = loop
    elif path.suffix == ".py":
        if not path.is_file():
            remedy = did_you_mean(path, "*.py") or "Name a script, relative to the working folder."
            raise UsageError(f"{target}: no such script. {remedy}")
        scenario, steps = scripted(path, arguments), _OF_A_SCRIPT
    elif cli_config.is_cli_config(path):
        scenario, steps = configured(path, arguments), _OF_A_SCRIPT
    elif path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            scenario = load(path).with_arguments(arguments)
            if impossible := refused_ranks(scenario):
                raise ScenarioError(impossible)
        except ScenarioError as error:
            for problem in error.problems:
                place = f"{problem.file}:{problem.line}:{problem.column}"
                yield replace(wrong(problem.message, place, problem.remedy), check="scenario file")
            return
        if scenario.framework != loops.FRAMEWORK:
            require_trainer(scenario, "doctor")
        yield replace(fine(f"{path} is valid", scenario.name), check="scenario file")
    elif hint := misspelled(target, "*.py", "*.yaml", "*.yml"):
        raise UsageError(f"{target}: no such file. {hint}")
    elif CLASS_PATH.match(target):
        scenario = bare(target)
    else:
        what = (
            "expected a scenario file, a training script, a LightningCLI config or a class path such as "
            "package.module.LitModel"
        )
        raise UsageError(f"invalid target {target!r}: {what}")
    working = engine or engines.create(engines.default(), engines.cores())
    try:
        if scenario.framework == loops.FRAMEWORK:
            yield from loops.examined(scenario, working, timeout, seed)
        else:
            yield from _examined(scenario, working, timeout, seed, steps)
    finally:
        if engine is None:
            working.close()


def scripted(file: Path, arguments: Sequence[str] = ()) -> Scenario:
    """Return a scenario of a training script, run up to `Trainer.fit`, with the script's own settings."""
    return _of_a_script(candidates.build_of(file, arguments))


def configured(file: Path, arguments: Sequence[str] = ()) -> Scenario:
    """Return a scenario of a LightningCLI config, trained by the project's own script if it has one."""
    found = Found(file.stem, None, config=str(file))
    return _of_a_script(next(build for _, _, build in candidates.builds(found, arguments)))


def _of_a_script(build: dict[str, Any]) -> Scenario:
    asked = {**build["init_args"], "keep": ["fast_dev_run", "overfit_batches"]}
    build = {**build, "init_args": asked}
    return from_working_directory({"schema": 1, "name": "script", "build": build, "trainer": {"limit_val_batches": 2}})


def _examined(scenario: Scenario, engine: Engine, timeout: float, seed: int, steps: int) -> Iterator[Finding]:
    try:
        engine.open(scenario.name, scenario.for_victims())
    except TargetError as error:
        yield _broken("import", scenario, error)
        return
    yield replace(fine("your code can be imported"), check="import")
    task = Examine("faultlab.doctor.observing:examine", Train(seed, advice=ADVICE, compiles=True), steps)
    (outcome,) = engine.run([order(engine, "examined", task, deadline=timeout)])
    if outcome.target_error is not None:
        yield _broken("build", scenario, outcome.target_error)
        return
    examined = outcome.result
    if not isinstance(examined, ExaminedRun):
        yield _lost(outcome, timeout)
        return
    advice = examined.run.advice
    seen = {
        **examined.seen,
        "idle_guards": advice.idle if advice else {},
        "warned": [shown.text for shown in examined.run.warnings],
    }
    if "cls" not in seen:
        raised = seen.get("error") or {}
        message = str(raised.get("message", "")).partition("\n")[0]
        place = raised.get("own") or raised.get("raised", "")
        named = explained(message)
        remedy = named.remedy if named else "Check that line; in a scenario, give missing arguments under init_args."
        meant = f": {named.cause}" if named else ""
        yield replace(wrong(f"building the module raises {message}{meant}", place, remedy), check="build")
        return
    root = project_root(scenario.file).resolve()
    own = (scenario.build.init_args or {}).get("script") if scenario.build else None
    seen["scripts"] = scripts(root, seen["cls"]["name"], Path(str(own)) if own else None)
    yield from _class(scenario, seen, root)
    clean: list[Finding] = []
    if executed := bool(step_not_executed.calls(seen)):
        clean = list(_clean_run(engine, examined.run, seen, timeout, seed, steps))
    yield from (one for one in clean if one.verdict == OK)
    causes, rest = _causes(seen), _rest(seen)
    if executed and (rehearsal.goes_on(scenario) or (seen.get("cut") and not _explains([*causes, *rest]))):
        whole = rehearsal.whole(scenario, engine, timeout, seed)
        engine.open(scenario.name, scenario.for_victims())
        seen["learns_later"] = rehearsal.learns_later(seen, whole)
    else:
        whole = seen
    # What the whole script does explains what is seen of its first training.
    certain, doubtful = beyond(whole or seen)
    causes = [*certain, *causes, *doubtful]
    if executed and not _explains([*causes, *rest]):
        yield from by_trainer.explained(engine, examined.run, seen, timeout, seed, steps)
    yield from [*causes, *(one for one in clean if one.verdict != OK), *rest]
    yield from on_ranks.examined(scenario, engine, timeout, seed)
    yield from SCRIPTS.run(seen)


def _class(scenario: Scenario, seen: Seen, root: Path) -> Iterator[Finding]:
    """Report which class is built, and find an earlier install that is imported in place of this project."""
    place = seen["cls"]["place"]
    yield replace(fine(f"{seen['cls']['path']} is built", place), check="build")
    named = scenario.module.class_path if scenario.module else ""
    here = file_of(named, root) if named else ""
    if here and place and not _same_file(place.rpartition(":")[0], root / here) and seen["cls"]["path"] == named:
        remedy = "Uninstall the other copy, or install this one: python -m pip install -e ."
        found = wrong(
            "a different copy of your code is imported than the one in this folder", f"{place}, not {here}", remedy
        )
        yield replace(found, check="imported copy")


def _clean_run(engine: Engine, run: RunResult, seen: Seen, timeout: float, seed: int, steps: int) -> Iterator[Finding]:
    """Report how long the run took, and whether another one is the same."""
    trajectory = run.trajectory
    # Without the time of the guards that watched.
    seconds = run.seconds - (sum(run.advice.seconds.values()) if run.advice else 0.0)
    if trajectory.end == "finished" and trajectory.steps >= steps:
        what = f"the first {trajectory.steps} steps take {seconds:.2f} s; the doctor stopped there"
        yield replace(fine(what), check="clean run")
    elif trajectory.end == "finished" and seen.get("lent"):
        # Other runs have no logger, and would end in an exception that is not the user's.
        yield replace(fine(f"the run takes {seconds:.2f} s for {trajectory.steps} steps"), check="clean run")
    elif trajectory.end == "finished":
        (again,) = engine.run([order(engine, "again", Train(seed, compiles=True), deadline=timeout, ranks=1)])
        other = again.trajectory
        # The examined run skips the final evaluation.
        alike = other is not None and replace(other, final={}).same_as(replace(trajectory, final={}))
        kind = "deterministic" if alike else "not deterministic"
        what = f"the clean run takes {seconds:.2f} s for {trajectory.steps} steps; it is {kind}"
        yield replace(fine(what), check="clean run")
        if not alike:
            yield _nondeterministic(engine, timeout, seed)
        if alike:
            yield from options.without_effect(engine, seen, trajectory, timeout, seed)


def _causes(seen: Seen) -> list[Finding]:
    """Return what explains a step that is not executed, or that does not learn."""
    if not step_not_executed.calls(seen):
        return [*SWALLOWED.run(seen), *step_not_executed.explain(seen)]
    groups = (SWALLOWED, LEARNING, UNREAD_TOKENS, MEDDLED, PARTS, WEIGHTS, REPLAYED)
    return [*(one for group in groups for one in group.run(seen)), *as_consequences(seen, ALARMS.run(seen))]


def _explains(found: Sequence[Finding]) -> bool:
    """Return whether something is wrong that is a cause: that the loss is not finite is what some cause does to it."""
    return any(one.verdict == WRONG and one.check != LOSS_VALUES for one in found)


def _rest(seen: Seen) -> list[Finding]:
    promises = PROMISES.run(seen)
    return [
        *(one for one in promises if one.check != SCHEDULE),
        *as_consequences(seen, (one for one in promises if one.check == SCHEDULE)),
        *(one for group in (LOADED, HABITS, RATES, DRAWN, CLASS_WEIGHTS) for one in group.run(seen)),
        *as_consequences(seen, METRICS.run(seen)),
        *(one for group in (IDLE, TOLD, HOOKS) for one in group.run(seen)),
    ]


def _nondeterministic(engine: Engine, timeout: float, seed: int) -> Finding:
    """Explain why two runs with the same seed differ, from two more that trace what they draw."""
    runs = [order(engine, f"traced-{n}", Train(seed, traced=True), deadline=timeout, ranks=1) for n in range(2)]
    found = nondeterminism.finding(list(engine.run(runs)))
    return replace(attention(found["what"], found["evidence"], found["remedy"]), check="deterministic")


def _lost(outcome: Outcome, timeout: float) -> Finding:
    """Return the finding for a run that hung or whose process died: how far it got, and where it is."""
    reached = any("reached" in note for note in outcome.notes)
    built = any("cls" in note for note in outcome.notes)
    when = "in or after training_step" if reached else "before training_step" if built else "while the module is built"
    if outcome.timed_out:
        own = next((found for found in _STACK.finditer(outcome.output)
                    if not any(part in found["file"] for part in _ELSEWHERE)), None)  # fmt: skip
        place = f"{own['file']}:{own['line']} in {own['name']}" if own else ""
        what = f"the training is still running after {timeout:.0f} s; it hangs or is only long: {when}"
        remedy = (
            "Check that line; if the training is only long, limit its steps in the scenario, or give a longer "
            "--timeout."
        )
        return replace(wrong(what, place, remedy), check="clean run")
    printed = outcome.output.strip().splitlines()[-1:] or [""]
    remedy = "Look for os._exit, sys.exit or a crash in native code there."
    return replace(wrong(f"the process {in_words(outcome.exit)}, {when}", printed[0][:300], remedy), check="clean run")


def _broken(check: str, scenario: Scenario, error: TargetError) -> Finding:
    where, message = error.where, error.message
    problem = scenario.problem(where, message, error.remedy).problems[0]
    if guard := _main_guard(scenario, error):
        return replace(guard, check=check)
    if named := explained(message):
        problem = scenario.problem(where, f"{message}: {named.cause}", named.remedy).problems[0]
    place = f"{problem.file}:{problem.line}:{problem.column}" if scenario.file.is_file() else ""
    return replace(wrong(problem.message, place, problem.remedy), check=check)


def _main_guard(scenario: Scenario, error: TargetError) -> Finding | None:
    """Find a test of ``__name__`` that is never true, in a script that never calls fit."""
    arguments = (scenario.build.init_args if scenario.build else {}) or {}
    script = Path(str(arguments.get("script", "")))
    if error.reason != NEVER_FITS or not script.is_file():
        return None
    for line, test in statements.main_guards(script.read_text(encoding="utf-8", errors="replace")):
        what = (
            f"the script does nothing: `{test}` in line {line} is never true, because a script's __name__ is '__main__'"
        )
        return wrong(what, f"{script}:{line}", 'Write if __name__ == "__main__":')
    return None


def _same_file(one: str, other: Path) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
