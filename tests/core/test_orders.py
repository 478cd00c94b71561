"""What driver and victims tell each other: every task and result as it was, whatever way it came."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from faultlab.campaign.guard_advice import Advice, written
from faultlab.campaign.verdict import Twin, judge
from faultlab.catalogue import index
from faultlab.core.alert import Alert
from faultlab.core.fault import Fault
from faultlab.core.messages import Lines, encode
from faultlab.core.orders import (
    TASKS,
    Examine,
    OpenScenario,
    Order,
    RunMutated,
    RunTests,
    SwitchedMutant,
    Task,
    Train,
)
from faultlab.core.part_facts import Leaf
from faultlab.core.ranks import activity, as_one
from faultlab.core.report import Status
from faultlab.core.results import (
    RESULTS,
    Advisory,
    Broken,
    Circumstances,
    ExaminedRun,
    NotVaried,
    Outcome,
    Result,
    RunResult,
    ShownWarning,
    SuiteRun,
    TargetFailed,
    Unreadable,
    message_of,
    read_result,
)
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.engines import Capabilities, refuse_groups
from faultlab.errors import TargetError, UsageError
from faultlab.worker.dispatch import carry_out

FAULT = Fault.parse("loss.scaled:factor=2@step=3,seed=5")
KNOWN = TargetProfile(steps=8, leaves={"0": Leaf("floating", "float32", (4, 2))}, inputs=("0",))
WHOLE = Train(1, FAULT, (Fault.parse("input.noise@always"),), KNOWN, snapshots=("fit", 3), reload=True,
              advice={"monitor": "val_loss"}, mutant=SwitchedMutant("pkg.f", 2, 4), traced=True)  # fmt: skip
ASKED: list[Task] = [
    OpenScenario({"path": ["/here"], "module": {"class_path": "a.B"}}),
    Train(0),
    WHOLE,
    Examine("package.module:function", Train(2, compiles=True), 9),
    RunTests(("a::b",), "fault", FAULT, until_failure=True),
    RunTests(("a::b", "a::c"), "plain"),
    RunMutated(("a::b",), "pkg.f__mutmut_1"),
]
SAID = Alert("guard", "Spike", 3, "oh")
TOLD = RunResult(
    Trajectory(steps=4, losses=[(0, 1.0), (1, 0.5)], metrics={"val_loss": [(1, 2.0)]}, end="raised", exit_code=1),
    alerts=[SAID],
    warnings=[ShownWarning("old #", 1, "old 7")],
    activations=2,
    first_step=1,
    born=3,
    advice=Advisory(alarms=(SAID,), of_interruption=(SAID,), seconds={"Spike": 0.5}),
    profile=KNOWN,
    circumstances=Circumstances({"torch": "2"}, 7, ["torch.fx"], "abc", {"target": [["a.py", "A"]]}),
)
ANSWERED: list[Result] = [
    RunResult(),
    TOLD,
    ExaminedRun(TOLD, {"cls": {"name": "A"}}),
    NotVaried("no argument called lr"),
    Broken("KeyError: 'x'"),
    Unreadable("half a line"),
    SuiteRun({"json": "/lib/json.py"}),
]


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """The message as it comes at the other end of a pipe."""
    (heard,) = Lines().feed(encode(message))
    return heard


@pytest.mark.parametrize("task", ASKED, ids=lambda task: type(task).__name__)
def test_an_order_arrives_as_it_was_given(task: Task) -> None:
    order = Order("one", task, at=3, deadline=math.inf, root="/run", sleeps=True, echo=2, ranks=2)
    assert Order.from_json(sent(order.to_json())) == order


@pytest.mark.parametrize("result", ANSWERED, ids=lambda result: type(result).__name__)
def test_a_result_arrives_as_it_was_told(result: Result) -> None:
    assert read_result(sent(message_of(result))["result"]) == result
    outcome = Outcome("one", [result, None], exit=-9, snapshots=["fit", 3])
    assert Outcome.from_json(sent(outcome.to_json())) == outcome


def test_every_kind_of_task_and_result_is_among_these() -> None:
    assert {type(task) for task in ASKED} == set(TASKS.values())
    assert {*map(type, ANSWERED), TargetFailed} == set(RESULTS.values())


def test_a_targets_error_arrives_with_its_place_and_remedy() -> None:
    error = TargetError(("guards", 0, "class_path"), "can't import it", "Install it.")
    outcome = Outcome("one", [read_result(sent(message_of(TargetFailed(error)))["result"])])
    assert outcome.target_error is not None
    assert vars(outcome.target_error) == vars(error)
    assert outcome.run is None


@pytest.mark.parametrize("said", ["text", {"kind": "nothing known"}, {"kind": "run"}, {"trajectory": {}}, None, 3])
def test_what_is_no_result_is_told_as_such_and_proves_nothing(said: Any) -> None:
    outcome = Outcome("loss.nan@step=1", [read_result(said)], acting=1)
    assert isinstance(outcome.result, Unreadable)
    judged = judge(outcome.id, index.modes()["loss.nan"], outcome, Twin(Trajectory()))
    assert judged.status is Status.ERROR
    assert judged.reason.startswith("the run's result can't be read: ")


def test_a_result_that_json_can_not_hold_is_none() -> None:
    around: dict[str, Any] = {}
    around["itself"] = around
    assert isinstance(read_result(sent(message_of(RunResult(draws=around)))["result"]), Unreadable)


def test_a_rank_that_died_leaves_the_run_unreported() -> None:
    assert Outcome("one", [RunResult(), RunResult()]).reported
    assert not Outcome("one", [RunResult(), None]).reported
    assert not Outcome("one").reported


def test_a_fault_acted_where_it_did_on_any_rank() -> None:
    ranks = [RunResult(), RunResult(activations=2, first_step=5), RunResult(activations=1, first_step=3)]
    assert activity(Outcome("one", ranks)) == (3, 3)
    assert activity(Outcome("one", [None, None], acting=4)) == (1, 4)
    assert activity(Outcome("one", [Broken("KeyError")], acting=4)) == (1, None)
    assert activity(Outcome("one")) == (0, None)


def test_a_group_fails_where_a_rank_does_and_says_once_what_several_say() -> None:
    clean = replace(TOLD, trajectory=Trajectory(digest="first"), activations=0, first_step=None)
    other = Alert("guard", "Other", 2, "ah")
    raised = RunResult(
        Trajectory(digest="second", end="raised", exit_code=1, not_finite="a.weight"),
        alerts=[SAID, other],
        warnings=[ShownWarning("old #", 0, "old 8"), ShownWarning("new #", 0, "new 8")],
        broken="KeyError",
    )
    group = as_one([clean, raised])
    assert (group.trajectory.digest, group.trajectory.end, group.trajectory.exit_code) == ("first", "raised", 1)
    assert (group.trajectory.not_finite, group.broken) == ("a.weight", "KeyError")
    assert group.alerts == [replace(other, rank=1), SAID]
    assert [shown.text for shown in group.warnings] == ["old 7", "new 8"]
    assert as_one([clean]) is clean


def test_an_alarm_of_the_second_rank_is_a_detection() -> None:
    twin = Twin(Trajectory(digest="clean"))
    ranks = [RunResult(activations=1, first_step=2), RunResult(alerts=[SAID], activations=1, first_step=1)]
    judged = judge("loss.nan@always", index.modes()["loss.nan"], Outcome("loss.nan@always", ranks), twin)
    assert judged.status is Status.DETECTED
    assert [(found.name, found.latency) for found in judged.detected_by] == [("Spike", 2)]
    assert judged.activations == 2


def test_an_engine_without_groups_refuses_several_ranks_and_says_what_to_do() -> None:
    class Single:
        capabilities = Capabilities()

    engine: Any = Single()
    with pytest.raises(UsageError, match=r"pair asks for 2 ranks, .* ask for one rank"):
        refuse_groups(engine, [Order("pair", Train(0), ranks=2)])


def test_an_engine_of_groups_is_asked_for_as_many_ranks_as_one_likes() -> None:
    class Groups:
        capabilities = Capabilities(groups=True)

    engine: Any = Groups()
    refuse_groups(engine, [Order("pair", Train(0), ranks=2)])


def test_the_worker_calls_what_an_examination_names() -> None:
    told: list[dict[str, Any]] = []
    target: Any = object()
    order = Order("one", Examine(f"{__name__}:examined", Train(0), 5))
    carry_out(target, order, told.append)
    assert told == [{"note": 5}]


def examined(target: Any, order: Order, send: Any) -> None:
    assert isinstance(order.task, Examine)
    send({"note": order.task.steps})


def test_only_a_training_can_be_changed_as_one() -> None:
    order = Order("one", WHOLE)
    assert order.with_training(snapshots=()).task == replace(WHOLE, snapshots=())
    assert order.training is WHOLE
    with pytest.raises(TypeError, match="not an order to train"):
        Order("two", RunTests((), "plain")).with_training(snapshots=())


def test_a_profile_is_written_down_once_for_all_orders() -> None:
    one, other = (Order(id, Train(0, profile=KNOWN)).to_json()["task"]["profile"] for id in ("one", "other"))
    assert one is other
    assert json.dumps(one)


def test_what_the_ready_made_guards_of_all_ranks_observed_is_one_advice_with_ranks() -> None:
    def said(*alarms: Alert, **more: Any) -> RunResult:
        return RunResult(activations=1, first_step=1, advice=Advisory(alarms=alarms, **more))

    both, own = Alert("guard", "Labels", 3, "both", reason="range"), Alert("guard", "Modes", 2, "own", reason="eval")
    ranks = [
        said(both, idle={"Idle": "why", "Busy": "why"}, seconds={"Labels": 1.0}),
        said(own, both, idle={"Idle": "why"}, broken={"Gradients": "KeyError"}),
    ]
    advice = as_one(ranks).advice
    assert advice is not None
    assert [(alarm.name, alarm.step, alarm.rank) for alarm in advice.alarms] == [("Modes", 2, 1), ("Labels", 3, None)]
    assert (advice.idle, advice.broken, advice.seconds) == (
        {"Idle": "why"},
        {"Gradients": "KeyError"},
        {"Labels": 1.0},
    )
    found = Advice().judge("loss.nan@always", index.modes()["loss.nan"], Outcome("loss.nan@always", ranks))
    assert [(one.name, one.latency, one.rank) for one in found] == [("Modes", 1, 1), ("Labels", 2, None)]
    assert [written(one).get("rank") for one in found] == [1, None]


def test_the_guards_of_a_rank_count_though_the_first_rank_died() -> None:
    own = Alert("guard", "Modes", 2, "own", reason="eval")
    alone = Outcome("loss.nan@always", [None, RunResult(activations=1, first_step=1, advice=Advisory(alarms=(own,)))])
    (found,) = Advice().judge("loss.nan@always", index.modes()["loss.nan"], alone)
    assert (found.name, found.rank) == ("Modes", 1)
