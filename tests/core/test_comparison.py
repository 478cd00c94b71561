"""Two reports of one scenario: what is different, and which of it is worse."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from faultlab.core.comparison import Comparison, compare
from faultlab.core.detection import Detection
from faultlab.core.report import FaultResult, Report, Status, dump
from tests.support import detection, mutant, mutated, report, result

GUARD = detection("guard", "Moves", names_cause=True)
OTHER = detection("guard", "Other")
TEST = detection("test", "test_it.py::test_learns")
CRASH = detection("framework", "RuntimeError")


def _detected(id: str, *found: Detection, **more: object) -> FaultResult:
    return result(id, "detected", detected_by=list(found), **more)


def _compared(before: list[FaultResult], after: list[FaultResult]) -> Comparison:
    return compare(report(*before), report(*after))


def test_a_report_does_not_differ_from_itself() -> None:
    found = _compared(same := [_detected("a.b@always", GUARD, TEST), result("a.c@always", "silent")], same)
    assert not found
    assert not found.worse


@pytest.mark.parametrize("before", ["detected", "warned", "no_effect", "ignored"])
def test_what_nobody_detects_any_more_is_newly_silent(before: str) -> None:
    found = _compared([result("a.b@always", before)], [result("a.b@always", "silent", severity="critical")])
    (change,) = found.newly_silent
    assert (change.mode, change.severity, change.before, change.after) == ("a.b", "critical", before, "silent")
    assert found.worse
    assert _compared([result("a.b@always", "silent")], [result("a.b@always", "silent")]).newly_silent == ()


@pytest.mark.parametrize("before", ["silent", "warned"])
def test_what_somebody_detects_now_is_newly_detected_and_nothing_worse(before: str) -> None:
    found = _compared([result("a.b@always", before)], [_detected("a.b@always", GUARD)])
    assert [change.mode for change in found.newly_detected] == ["a.b"]
    assert found
    assert not found.worse


def test_a_guard_that_detects_no_more_is_lost_though_another_still_does() -> None:
    found = _compared([_detected("a.b@always", GUARD, OTHER)], [_detected("a.b@always", OTHER)])
    (lost,) = found.lost
    assert (lost.mode, lost.detector, lost.names_cause, lost.instead) == ("a.b", "guard:Moves", True, "guard:Other")
    assert not lost.by_luck
    assert found.changed == ()
    assert found.worse


def test_a_guard_whose_place_an_incidental_crash_takes_is_lost_to_luck() -> None:
    (lost,) = _compared([_detected("a.b@always", GUARD)], [_detected("a.b@always", CRASH)]).lost
    assert (lost.detector, lost.instead, lost.by_luck) == ("guard:Moves", "framework", True)


def test_a_crash_that_comes_no_more_is_no_loss_of_the_users() -> None:
    found = _compared([_detected("a.b@always", GUARD, CRASH)], [_detected("a.b@always", GUARD)])
    assert [(lost.detector, lost.owned) for lost in found.lost] == [("framework", False)]
    assert not found.worse


def test_a_test_is_the_same_detector_whatever_makes_it_fail() -> None:
    crashed = replace(TEST, kind="framework")
    assert not _compared([_detected("a.b@always", TEST)], [_detected("a.b@always", crashed)]).lost


def test_a_detector_counts_for_a_failure_mode_at_whichever_of_its_faults() -> None:
    before = [_detected("a.b@step=1", GUARD), _detected("a.b@step=2", OTHER)]
    assert not _compared(before, [_detected("a.b@step=1", OTHER), _detected("a.b@step=2", GUARD)]).lost
    assert _compared(before, [_detected("a.b@step=1", GUARD)]).lost[0].detector == "guard:Other"


@pytest.mark.parametrize("after", [[], [result("a.b@always", "not_applicable")], [result("a.b@always", "ignored")]])
def test_what_is_no_longer_tried_is_gone_and_its_detectors_are_not_lost_besides(after: list[FaultResult]) -> None:
    found = _compared([_detected("a.b@always", GUARD)], after)
    assert [change.mode for change in found.gone] == ["a.b"]
    assert found.lost == ()
    assert found.worse
    back = _compared(after, [_detected("a.b@always", GUARD)])
    assert [change.mode for change in back.new] == ["a.b"]
    assert not back.worse


def test_what_was_never_tried_can_not_be_gone() -> None:
    found = _compared([result("a.b@always", "not_applicable")], [])
    assert found.gone == found.new == ()
    assert [(change.before, change.after) for change in found.changed] == [(Status.NOT_APPLICABLE, None)]


def test_a_failure_mode_is_detected_as_late_as_the_latest_of_its_faults_by_the_first_who_does() -> None:
    def at(*latencies: int) -> list[Detection]:
        return [replace(GUARD, latency=latency, name=f"G{latency}") for latency in latencies]

    before = [_detected("a.b@step=1", *at(5, 1)), _detected("a.b@step=2", *at(3))]
    after = [_detected("a.b@step=1", *at(5)), _detected("a.b@step=2", *at(3))]
    (later,) = _compared(before, after).later
    assert (later.mode, later.before, later.after) == ("a.b", 3, 5)
    assert _compared(after, before).later == ()


def test_the_steps_of_tests_are_none_of_the_trainings() -> None:
    early, late = (_detected("a.b@always", replace(TEST, latency=latency)) for latency in (0, 90))
    assert _compared([early], [late]).later == ()


def test_ratios_and_scores_are_those_of_before_and_after() -> None:
    found = _compared([_detected("a.b@always")], [result("a.b@always", "silent")])
    assert (found.ratios, found.scores) == ((1.0, 0.0), (None, None))
    scored = compare(mutated(mutant("detected")), mutated(mutant("silent")))
    assert scored.scores == (1.0, 0.0)
    assert scored


def test_it_is_plain_json() -> None:
    found = _compared([_detected("a.b@always", GUARD)], [result("a.b@always", "silent")]).to_json()
    written = json.loads(dump(found))
    assert written["newly_silent"] == [{"mode": "a.b", "severity": "major", "before": "detected", "after": "silent"}]
    assert written["lost"][0]["detector"] == "guard:Moves"
    assert compare(Report("x"), Report("x")).to_json()["changed"] == ()
