"""The examination of a training loop, from its file to the end of its training. The driver's side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faultlab.campaign.applicability_survey import from_working_directory
from faultlab.campaign.clean_runs import order
from faultlab.config.scenario import Scenario
from faultlab.core.exit_status import in_words
from faultlab.core.orders import Examine, Train
from faultlab.core.results import ExaminedRun, Outcome
from faultlab.discovery import loops
from faultlab.doctor import on_ranks
from faultlab.doctor.class_weights import CLASS_WEIGHTS
from faultlab.doctor.errors import explained
from faultlab.doctor.experiments import trainings, trials
from faultlab.doctor.experiments.course import Case, Course
from faultlab.doctor.finding import OK, WRONG, Finding, Seen, fine, wrong
from faultlab.doctor.habits import HABITS
from faultlab.doctor.loops.course import COURSE, LOSS
from faultlab.doctor.loops.data import DATA, REST
from faultlab.doctor.loops.evaluation import EVALUATION
from faultlab.doctor.loops.mechanics import MECHANICS, trains
from faultlab.doctor.loops.modes import MODES
from faultlab.doctor.loops.weights import WEIGHTS
from faultlab.doctor.onlooking import ADVICE, ALARMS, OTHERS, SIGNS
from faultlab.doctor.unread_tokens import UNREAD_TOKENS
from faultlab.doctor.whole.checks import beyond
from faultlab.engines import Engine
from faultlab.errors import TargetError

FRAMEWORK = "torch"
_BY = "faultlab.doctor.loops.observing:examine"
_LEARNT = 0.5
_ADVISED = "faultlab.doctor.experiments.advised:examine"
# The order of what is certain and explains the rest.
_CAUSES = (WEIGHTS, MODES, UNREAD_TOKENS, DATA, CLASS_WEIGHTS, COURSE, EVALUATION)


def of_file(target: str, arguments: Sequence[str]) -> Scenario | None:
    """Return the scenario of a loop named as ``file.py`` or ``file.py:function``; None for anything else."""
    found = loops.find(target, arguments, ill=True)
    if found is None:
        return None
    parts = {name: part for name, part in loops.parts(found).items() if name not in ("step", "resume")}
    return from_working_directory({"schema": 1, "name": "loop", "framework": "torch", **parts})


def examined(scenario: Scenario, engine: Engine, timeout: float, seed: int) -> Iterator[Finding]:
    """Yield the findings in the order of the checks."""
    try:
        engine.open(scenario.name, {**scenario.for_victims(), "observed": False})
    except TargetError as error:
        yield _broken("import", scenario, error)
        return
    yield replace(fine("your code can be imported"), check="import")
    (outcome,) = engine.run([order(engine, "examined", Examine(_BY, Train(seed), 0), deadline=timeout)])
    if outcome.target_error is not None:
        yield _broken("import", scenario, outcome.target_error)
        return
    result = outcome.result
    if not isinstance(result, ExaminedRun):
        yield _lost(outcome, timeout)
        return
    seen: dict[str, Any] = {**result.seen, "warned": [shown.text for shown in result.run.warnings]}
    seen["batches"] = seen["gradients"]["backwards"]
    stopped = "; the doctor stopped there" if seen["cut"] else ""
    what = f"the training takes {result.run.seconds:.2f} s for {seen['batches']} backward passes{stopped}"
    yield replace(fine(what, seen["places"].get("backward", "")), check="clean run")
    certain, doubtful = beyond(seen)
    causes = [*MECHANICS.run(seen), *certain, *(one for group in _CAUSES for one in group.run(seen)), *doubtful]
    causes += HABITS.run({"files": seen.get("files"), "losses": seen["losses"]})
    if not any(one.verdict == WRONG for one in causes):
        watched = _watched(scenario, seen, engine, timeout, seed)
        noticed = [*ALARMS.run(watched), *OTHERS.run(watched)]
        tried = [] if noticed else [*_tried(scenario, seen, engine, timeout, seed)] or SIGNS.run(watched)
        causes = [*noticed, *tried, *causes]
    # What the loss does is the consequence of a cause that was found.
    consequences = [] if any(one.verdict == WRONG for one in causes) else LOSS.run(seen)
    yield from sorted([*causes, *consequences, *REST.run(seen)], key=lambda one: one.verdict == OK)
    if scenario.processes > 1:
        yield from _on_ranks(scenario, engine, timeout, seed)


def _on_ranks(scenario: Scenario, engine: Engine, timeout: float, seed: int) -> Iterator[Finding]:
    try:
        # Its layout is observed for this: the examination on one rank needs none.
        engine.open(f"{scenario.name}-on-ranks", scenario.for_victims())
    except TargetError as error:
        yield _broken("ranks", scenario, error)
        return
    yield from on_ranks.examined(scenario, engine, timeout, seed)


def _watched(scenario: Scenario, seen: Seen, engine: Engine, timeout: float, seed: int) -> Seen:
    """Train again under all guards, if the training is short enough to be seen whole; return what they notice."""
    if not trains(seen) or seen["cut"]:
        return {}
    try:
        # Guards need the loop's layout, which is observed for this.
        engine.open(f"{scenario.name}-under-guards", scenario.for_victims())
    except TargetError:  # the layout can't be observed, as in a loop that draws its batches from no loader
        return {}
    task = Examine(_ADVISED, Train(seed, advice=ADVICE), 0)
    (outcome,) = engine.run([order(engine, "under-guards", task, deadline=timeout, ranks=1)])
    told = outcome.result.seen if isinstance(outcome.result, ExaminedRun) else {}
    return {**told, "alarms": [one for one in told.get("alarms", ()) if _believable(one, seen)]}


def _believable(alarm: Mapping[str, Any], seen: Seen) -> bool:
    """Return whether what the doctor itself has seen of a loop does not explain a guard's alarm."""
    if alarm["guard"] == "WeightsIntact":
        # As the clients of federated learning get the average of all of them.
        return not seen["loads"]
    if alarm["check"].endswith("on-training-data"):
        # The training's own accuracy, beside an evaluation of other samples.
        stages = [one for model in (seen.get("whole") or {}).get("models", ()) for one in model["stages"]]
        return not any(one["seen"] < 0.5 * one["different"] for one in stages)
    if alarm["check"].endswith("moved-in-validation"):
        return bool(seen["evaluated"]["in training"])
    if alarm["check"].endswith("explodes"):
        # Once a training has learnt, its gradients are small, and so is a spike among them.
        course = Course(seen["losses"])
        return not course.end < _LEARNT * course.start
    return True


def _tried(scenario: Scenario, seen: Seen, engine: Engine, timeout: float, seed: int) -> Iterator[Finding]:
    """Train again with one part changed at a time, to see which one is to blame."""
    if trains(seen):
        case = Case(
            _course(seen),
            guess=(seen.get("relation") or {}).get("guess"),
            plain_guess=seen["plain"]["guess"],
            rate=max((float(rate) for _, rate in seen["rates"]), default=0.0),
            present=[*seen["present"], *(["clipping"] if seen["gradients"]["clips"] else [])],
            settings=seen["settings"],
            inputs=seen.get("relation") or {},
            summed=next(iter(seen["summed"]), None),
            trained=seen["trained_loss"],
            loaded=seen["loads"],
            several=len(seen["optimizers"]) > 1,
            cut=seen["cut"],
        )
        yield from trainings.examined(
            case, _opening(scenario, engine, trials.train(engine, _BY, timeout, seed, 0, _course))
        )


def _opening(scenario: Scenario, engine: Engine, train: trainings.Train) -> trainings.Train:
    """Open the scenario again before the first experiment: its layout is observed for the guards alone."""
    opened: list[bool] = []

    def trained(wanted: Sequence[trainings.Changes]) -> Sequence[Course | None]:
        if not opened:
            engine.open(scenario.name, {**scenario.for_victims(), "observed": False})
            opened.append(True)
        return train(wanted)

    return trained


def _course(seen: Seen) -> Course:
    return Course(seen["losses"], seen["evaluation_loss"], seen["acted"], seen["plain"]["losses"])


def _broken(check: str, scenario: Scenario, error: TargetError) -> Finding:
    problem = scenario.problem(error.where, error.message, error.remedy).problems[0]
    if named := explained(error.message):
        problem = replace(problem, message=f"{error.message}: {named.cause}", remedy=named.remedy)
    place = f"{problem.file}:{problem.line}:{problem.column}" if scenario.file.is_file() else ""
    return replace(wrong(problem.message, place, problem.remedy), check=check)


def _lost(outcome: Outcome, timeout: float) -> Finding:
    if outcome.timed_out:
        what = f"the training is still running after {timeout:.0f} s, and has reached no batch or step since half of it"
        remedy = "Look at its last output; if it is only long before its first step, give a longer --timeout."
    else:
        what = f"the process {in_words(outcome.exit)}"
        remedy = "Look for os._exit, sys.exit or a crash in native code."
    printed = outcome.output.strip().splitlines()[-1:] or [""]
    return replace(wrong(what, printed[0][:300], remedy), check="clean run")
