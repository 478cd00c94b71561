"""Whether a campaign passes, and the status that the command ends with."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind, texts
from faultlab.core.report import Baseline, Report
from faultlab.gate.demands import check, check_exemptions, exit_code, gravest
from tests.support import detection, report, result

NOTHING = Demands()
DETECTED = result("a.detected@always", "detected")
SILENT = result("a.silent@always", "silent", severity="critical")
WARNED = result("a.warned@always", "warned")
ALARM = Alert("guard", "Spike", 1, "too high")


def _judged(found: Report, demands: Demands = NOTHING) -> tuple[list[str], int]:
    found.reasons = check(found, demands)
    found.passed = not found.reasons
    return texts(found.reasons), exit_code(found, demands)


def test_a_scenario_without_a_gate_passes_with_whatever_coverage() -> None:
    assert _judged(report(SILENT)) == ([], 0)
    assert _judged(report(DETECTED, SILENT, WARNED)) == ([], 0)


@pytest.mark.parametrize(("demanded", "passes"), [(0.0, True), (0.5, True), (0.51, False), (1.0, False)])
def test_coverage_has_to_reach_what_is_demanded(demanded: float, passes: bool) -> None:
    for reasons, status in (
        _judged(report(DETECTED, SILENT), Demands(coverage=demanded)),
        _judged(report(DETECTED, SILENT), Demands(fail_under=demanded)),
    ):
        assert (reasons == [], status) == ((True, 0) if passes else (False, 1))


def test_fail_under_comes_on_top_of_the_gates_own_coverage() -> None:
    assert _judged(report(DETECTED, SILENT), Demands(coverage=0.9, fail_under=0.1))[1] == 1
    assert _judged(report(DETECTED, SILENT), Demands(coverage=0.1, fail_under=0.9))[1] == 1
    (reason,) = check(report(DETECTED, SILENT), Demands(coverage=0.1, fail_under=0.9))
    assert "coverage 0.50 is below 0.90" in reason.text


def test_a_coverage_that_just_misses_is_not_said_to_equal_what_was_demanded() -> None:
    modes = [result(f"a.m{number}@always", "detected") for number in range(799)]
    missed = [result(f"b.m{number}@always", "silent") for number in range(201)]
    (reason,) = check(report(*modes, *missed), Demands(coverage=0.8))
    assert "0.799" in reason.text


def test_a_warning_does_not_count_as_detected() -> None:
    assert _judged(report(DETECTED, WARNED), Demands(coverage=0.6))[1] == 1


def test_silent_failure_modes_are_limited_by_their_severity() -> None:
    faults = [SILENT, result("a.other@always", "silent", severity="minor"), DETECTED]
    assert _judged(report(*faults), Demands(silent={"critical": 1, "minor": 1, "major": 0})) == ([], 0)
    reasons, status = _judged(report(*faults), Demands(silent={"critical": 0}))
    assert status == 1
    assert "1 critical" in reasons[0]
    assert "a.silent" in reasons[0]
    assert "a.other" not in reasons[0]


def test_two_silent_faults_of_one_failure_mode_count_once() -> None:
    twice = [result("a.b@step=1", "silent", severity="critical"), result("a.b@step=2", "silent", severity="critical")]
    assert _judged(report(*twice), Demands(silent={"critical": 1})) == ([], 0)


def test_false_alarms_are_counted_and_give_their_own_status() -> None:
    alarmed = Baseline(false_alarms=[ALARM])
    reasons, status = _judged(report(DETECTED, baseline=alarmed), Demands(false_alarms=0))
    assert status == 3
    assert "1 false alarm" in reasons[0]
    reasons, _ = _judged(report(DETECTED, baseline=alarmed), Demands(false_alarms=1))
    assert reasons == []


@pytest.mark.parametrize("status", ["not_activated", "error", "timeout"])
def test_what_is_inconclusive_never_passes(status: str) -> None:
    doubtful = result("a.b@always", status, reason="it broke")
    reasons, code = _judged(report(DETECTED, doubtful))
    assert code == 4
    assert reasons == [f"inconclusive: a.b@always is {status} (it broke)"]


def test_what_is_inconclusive_weighs_more_than_a_coverage_that_is_missed() -> None:
    reasons, code = _judged(report(SILENT, result("a.b@always", "error")), Demands(coverage=0.5))
    assert len(reasons) == 2
    assert code == 4


@pytest.mark.parametrize("faults", [[], ["not_applicable"], ["ignored"], ["not_applicable", "ignored"]])
def test_a_campaign_in_which_nothing_was_activated_never_passes(faults: list[str]) -> None:
    found = [result(f"a.b{number}@always", status) for number, status in enumerate(faults)]
    reasons, code = _judged(report(*found))
    assert reasons == ["inconclusive: no fault was activated"]
    assert code == 4


def test_a_fault_without_effect_was_activated_and_leaves_no_coverage_to_demand() -> None:
    assert _judged(report(result("a.b@always", "no_effect"))) == ([], 0)
    assert _judged(report(result("a.b@always", "no_effect")), Demands(coverage=0.5))[1] == 1


@pytest.mark.parametrize(
    ("kinds", "alarms", "status"),
    [
        ([], [], 0),
        ([ReasonKind.COVERAGE], [], 1),
        ([ReasonKind.CANARY], [], 4),
        ([ReasonKind.COVERAGE, ReasonKind.NOTHING_ACTIVATED], [], 4),
        ([], [ALARM], 3),
        ([ReasonKind.NOTHING_ACTIVATED], [ALARM], 3),
    ],
)
def test_each_outcome_has_its_exit_code_whatever_its_words(
    kinds: list[ReasonKind], alarms: list[Alert], status: int
) -> None:
    reasons = [Reason(kind, "no words decide") for kind in kinds]
    found = report(DETECTED, baseline=Baseline(false_alarms=alarms), reasons=reasons, passed=not reasons)
    assert exit_code(found, NOTHING) == status


@pytest.mark.parametrize(("allowed", "status"), [(None, 3), (0, 3), (1, 0)])
def test_a_false_alarm_that_the_gate_allows_does_not_end_in_status_3(allowed: int | None, status: int) -> None:
    found = report(DETECTED, baseline=Baseline(false_alarms=[ALARM]))
    assert _judged(found, Demands(false_alarms=allowed))[1] == status


def test_reasons_name_what_they_are_about() -> None:
    alarms = [ALARM, replace(ALARM, step=2), replace(ALARM, name="Other"), replace(ALARM, kind="test", name="")]
    other = result("a.other@always", "silent", severity="critical")
    found = report(SILENT, other, baseline=Baseline(false_alarms=alarms))
    assert texts(check(found, Demands(silent={"critical": 1}, false_alarms=1))) == [
        "2 critical failure modes are silent, 1 allowed: a.other, a.silent",
        "4 false alarms on clean runs, 1 allowed: Spike, Other, ",
    ]


def test_where_nothing_counts_no_coverage_is_reached() -> None:
    found = report(result("a.same@always", "no_effect"))
    assert texts(check(found, Demands(coverage=0.5))) == ["coverage 0.00 is below 0.50"]


def test_coverages_that_differ_by_nothing_that_can_be_shown_are_told_in_full() -> None:
    (reason,) = check(report(DETECTED, SILENT), Demands(coverage=0.5000000001))
    assert reason.text == "coverage 0.5 is below 0.5000000001"


def test_of_several_scenarios_the_gravest_status_counts() -> None:
    order = (0, 1, 4, 3, 2, 70, 130)
    for index, status in enumerate(order):
        assert gravest(order[: index + 1]) == status


def test_what_is_detected_too_late_is_named() -> None:
    late = result("a.late@always", "detected", detected_by=[replace(detection(), latency=7)])
    early = result("a.early@always", "detected", detected_by=[replace(detection(), latency=5)])
    assert _judged(report(late, early), Demands(latency=7)) == ([], 0)
    (reason,), status = _judged(report(late, early), Demands(latency=6))
    assert status == 1
    assert reason == "1 failure modes are detected after more than 6 steps: a.late (after 7)"


def test_what_is_silent_at_another_fault_is_not_late_besides() -> None:
    late = result("a.b@step=1", "detected", detected_by=[replace(detection(), latency=7)])
    assert _judged(report(late, result("a.b@step=2", "silent")), Demands(latency=6)) == ([], 0)


def test_a_report_that_brings_its_demands_is_held_to_them() -> None:
    found = report(SILENT, demands=Demands(coverage=0.5))
    assert texts(check(found)) == ["coverage 0.00 is below 0.50"]
    assert check(found, NOTHING) == []


def test_a_share_of_a_campaign_is_asked_for_what_a_share_can_know() -> None:
    demands = Demands(coverage=1.0, silent={"critical": 0}, latency=0)
    found = report(SILENT, shard="1/2", demands=demands)
    assert check(found) == []
    assert check(report(shard="2/2", demands=demands)) == []
    found.baseline.false_alarms = [ALARM]
    found.faults.append(result("a.b@always", "error"))
    assert [reason.text.split(":")[0] for reason in check(found)] == [
        "inconclusive",
        "1 false alarms on clean runs, 0 allowed",
    ]


TODAY = datetime.date(2026, 6, 30)


def _exempted(status: str, expires: str, mode: str = "scheduler.*") -> list[Reason]:
    exemption = {"mode": mode, "reason": "on purpose", "expires": expires}
    modes = ["scheduler.collapses", "loss.nan"]
    return check_exemptions(report(*(result(f"{m}@always", status) for m in modes), exemptions=[exemption]), TODAY)


def test_an_exemption_holds_until_the_day_it_expires() -> None:
    assert _exempted("ignored", "2026-06-30") == []
    (reason,) = _exempted("silent", "2026-06-29")
    assert reason.text.startswith("the exemption of scheduler.* (on purpose) expired on 2026-06-29")


def test_an_exemption_for_what_can_not_happen_is_stale() -> None:
    (reason,) = _exempted("not_applicable", "2026-07-01", "loss.nan")
    assert "the exemption of loss.nan (on purpose) is stale" in reason.text
    assert _exempted("not_applicable", "2026-07-01") == [], "others of the family were not asked for this time"


def test_an_exemption_for_what_was_not_asked_for_is_left_alone() -> None:
    assert _exempted("silent", "2020-01-01", "label.shuffled") == []
