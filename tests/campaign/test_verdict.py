"""The verdict on made-up outcomes: every status, who detected, and when."""

from __future__ import annotations

import pytest

from faultlab.campaign.verdict import Twin, judge
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection
from faultlab.core.report import Harm, Status
from faultlab.core.results import Broken, Outcome, ShownWarning, TargetFailed
from faultlab.errors import TargetError
from tests.campaign import outcomes


def test_a_fault_that_somebody_signalled_is_detected_with_its_latency() -> None:
    found = outcomes.judged(outcomes.outcome_of(alerts=[outcomes.alert(step=3)]))
    assert found.status is Status.DETECTED
    assert (found.activations, found.first_step, found.seconds) == (2, 2, 0.1235)
    assert [(who.kind, who.name, who.step, who.latency) for who in found.detected_by] == [("guard", "Spike", 3, 1)]
    assert (found.id, found.mode, found.family, found.severity) == (outcomes.FAULT, "loss.made-up", "loss", "critical")


def test_a_fault_that_only_new_warnings_tell_of_is_warned() -> None:
    told = [ShownWarning("old #", 0, "old 1"), ShownWarning("new #", 2, "new 7")]
    found = outcomes.judged(
        outcomes.outcome_of(warnings=told), Twin(outcomes.trajectory(), warnings=frozenset({"old #"}))
    )
    assert (found.status, found.warnings) == (Status.WARNED, ["new 7"])


def test_a_warning_that_the_clean_run_has_too_is_none() -> None:
    told = [ShownWarning("old #", 2, "old 2")]
    found = outcomes.judged(
        outcomes.outcome_of(warnings=told), Twin(outcomes.trajectory(), warnings=frozenset({"old #"}))
    )
    assert (found.status, found.warnings) == (Status.SILENT, [])


def test_who_detected_stands_in_the_order_of_worth_and_then_of_time() -> None:
    said = [
        outcomes.alert("framework", "exception", 2, "the loss is nan"),
        outcomes.alert("module", "LitModel.training_step", 2, "the loss is nan"),
        outcomes.alert("guard", "Late", 9, "stopped", "stopped"),
        outcomes.alert("guard", "Early", 4, "stopped", "stopped"),
        outcomes.alert("test", "test_loss", 7, "the LOSS is negative"),
        outcomes.alert("guard", "Spike", 5, "NaN met"),
    ]
    found = outcomes.judged(outcomes.outcome_of(alerts=said))
    named = ["Spike", "test_loss", "Early", "Late", "LitModel.training_step", "exception"]
    assert [who.name for who in found.detected_by] == named
    assert [who.names_cause for who in found.detected_by] == [True, True, False, False, True, True]
    assert found.best is not None
    assert found.best.name == "Spike"


def test_detects_of_a_second_run_without_flags_count_too() -> None:
    found = judge(
        outcomes.FAULT,
        outcomes.declared(),
        outcomes.outcome_of(),
        Twin(outcomes.trajectory()),
        [Alert("guard", "Spike", 3, "oh")],
    )
    assert [who.name for who in found.detected_by] == ["Spike"]


def test_a_fault_that_never_acted_gets_no_verdict_whoever_signalled() -> None:
    found = outcomes.judged(outcomes.outcome_of(activations=0, first_step=None, alerts=[outcomes.alert()]))
    assert (found.status, found.detected_by) == (Status.NOT_ACTIVATED, [])
    assert found.reason


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(outcomes.FAULT, lost="its fork server is gone"), "its fork server is gone"),
        (outcomes.outcome_of(broken="KeyError: 'x'"), "the injector failed: KeyError: 'x'"),
        (Outcome(outcomes.FAULT, [Broken("KeyError")]), "the injector failed: KeyError"),
        (Outcome(outcomes.FAULT, [TargetFailed(TargetError((), "no module"))]), "could not be built again: no module"),
        (Outcome(outcomes.FAULT, exit=-11), "killed by SIGSEGV before the fault acted"),
        (Outcome(outcomes.FAULT, exit=3), "ended with status 3 before the fault acted"),
        (Outcome(outcomes.FAULT, exit=0), "ended with status 0 before the fault acted"),
    ],
)
def test_what_is_not_the_victims_doing_is_an_error(outcome: Outcome, said: str) -> None:
    found = outcomes.judged(outcome)
    assert found.status is Status.ERROR
    assert said in found.reason


@pytest.mark.parametrize(
    ("exit", "said"),
    [(-9, "killed by SIGKILL"), (-11, "killed by SIGSEGV"), (-99, "killed by signal 99"), (7, "ended with status 7")],
)
def test_a_process_that_the_fault_kills_is_detected_by_process(exit: int, said: str) -> None:
    found = outcomes.judged(Outcome(outcomes.FAULT, exit=exit, acting=5))
    (who,) = found.detected_by
    assert (found.status, found.activations, found.first_step) == (Status.DETECTED, 1, 5)
    assert (who.kind, who.step, who.worth) == ("process", 5, 3)
    assert said in who.message


def test_an_early_exit_with_status_0_is_silent() -> None:
    unreported = outcomes.judged(Outcome(outcomes.FAULT, exit=0, acting=5))
    reported = outcomes.judged(outcomes.outcome_of(outcomes.trajectory(end="exited")))
    for found in (unreported, reported):
        assert (found.status, found.detected_by) == (Status.SILENT, [])
        assert "exits with status 0" in found.reason
    assert reported.harm == Harm("val_loss", 1.0, None, True)


def test_a_deadline_is_detected_by_process_only_where_the_failure_mode_hangs() -> None:
    late = Outcome(outcomes.FAULT, timed_out=True, acting=2, seconds=10.0, exit=-9)
    found = outcomes.judged(late, mode=outcomes.declared(hangs=True))
    assert (found.status, found.detected_by[0].kind) == (Status.DETECTED, "process")
    assert "deadline of 10 s" in found.detected_by[0].message
    assert outcomes.judged(late).status is Status.TIMEOUT
    assert "deadline of 10 s" in outcomes.judged(late).reason


def test_a_deadline_before_the_fault_acted_is_inconclusive_even_where_the_mode_hangs() -> None:
    found = outcomes.judged(Outcome(outcomes.FAULT, timed_out=True, seconds=10.0), mode=outcomes.declared(hangs=True))
    assert found.status is Status.TIMEOUT
    assert "had not acted" in found.reason


def test_a_goal_that_is_reached_early_detects_nothing() -> None:
    reached = Alert("guard", "EarlyStopping", 2, "Stopping threshold reached", "stopped", "stopping_threshold")
    spent = Alert("guard", "EarlyStopping", 2, "did not improve", "stopped", "patience_exhausted")
    assert reached.finds_nothing
    assert not spent.finds_nothing


def test_what_ended_the_process_is_told_by_what_it_was_and_when() -> None:
    (hung,) = outcomes.judged(
        Outcome(outcomes.FAULT, timed_out=True, acting=2, seconds=9.6), mode=outcomes.declared(hangs=True)
    ).detected_by
    assert hung == Detection("process", "deadline", 2, 0, False, "still running after its deadline of 10 s")
    (dead,) = outcomes.judged(Outcome(outcomes.FAULT, exit=3, acting=2)).detected_by
    assert dead == Detection("process", "exit", 2, 0, False, "the process ended with status 3")
    late = outcomes.judged(Outcome(outcomes.FAULT, timed_out=True, seconds=9.6)).reason
    assert late == "still running after its deadline of 10 s, and the fault had not acted"
    left = "the process exits with status 0 before the training is done"
    assert outcomes.judged(Outcome(outcomes.FAULT, exit=0, acting=2)).reason == left
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory(end="exited", digest="other"))).reason == left


def test_before_anything_was_changed_there_is_no_verdict() -> None:
    found = outcomes.judged(outcomes.outcome_of(activations=0))
    assert found.reason == "the fault never changed a value although it applies to the target"


def test_a_detect_is_told_in_full_and_counted_from_the_first_activation() -> None:
    (found,) = outcomes.judged(
        outcomes.outcome_of(alerts=[outcomes.alert(step=3, message="the loss rose")])
    ).detected_by
    assert found == Detection("guard", "Spike", 3, 1, True, "the loss rose")
    assert outcomes.judged(outcomes.outcome_of(alerts=[outcomes.alert(step=1)])).status is Status.SILENT
    (same,) = outcomes.judged(outcomes.outcome_of(alerts=[outcomes.alert(step=2)])).detected_by
    assert (same.step, same.latency) == (2, 0)
    (first,) = outcomes.judged(outcomes.outcome_of(alerts=[outcomes.alert(step=0)], first_step=None)).detected_by
    assert (first.step, first.latency) == (0, 0)
    (later,) = outcomes.judged(outcomes.outcome_of(alerts=[outcomes.alert(step=1)], first_step=None)).detected_by
    assert later.latency == 1
