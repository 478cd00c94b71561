"""What the ready-made guards said, and what their word is worth."""

from __future__ import annotations

from typing import Any

import pytest

from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.guard_worth import worth_of
from faultlab.campaign.preparation import _meant
from faultlab.campaign.prescribing import choose, harmful_ratio
from faultlab.campaign.set_cover import smallest_cover
from faultlab.catalogue import index
from faultlab.core.alert import Alert
from faultlab.core.detection import Prescribed
from faultlab.core.report import Harm, Status
from faultlab.core.results import Advisory, Outcome, RunResult
from tests.support import detection, report, result

MODE = index.modes()["loss.nan"]


def alarm(guard: str, check: str, step: int, message: str = "m") -> Alert:
    return Alert("guard", guard, step, message, reason=check)


def ran(id: str, *alarms: Alert, first_step: int | None = None, **more: Any) -> Outcome:
    said = Advisory(alarms=alarms, **more)
    return Outcome(id, [RunResult(advice=said, first_step=first_step, fit_seconds=1.0)])


def watched(**detected: set[str]) -> Advice:
    """Advice after runs of faults, of which the guards in each set detected one step late."""
    advice = Advice({})
    for fault, guards in detected.items():
        advice.judge(f"loss.{fault}@always", MODE, ran(fault, *(alarm(g, "check", 5) for g in guards), first_step=4))
    return advice


def silent(fault: str, harmful: bool = True) -> Any:
    harm = Harm("val_loss", 1.0, 2.0 if harmful else 1.0, harmful)
    return result(f"loss.{fault}@always", Status.SILENT, harm=harm)


def test_a_check_that_speaks_up_in_a_healthy_run_counts_for_nothing() -> None:
    advice = Advice({})
    advice.learn([ran("clean-3", alarm("Wolf", "cries", 2))])
    found = advice.judge("f", MODE, ran("f", alarm("Wolf", "cries", 4), alarm("Wolf", "bites", 4), first_step=4))
    assert [(seen.name, seen.check) for seen in found] == [("Wolf", "bites")]
    assert advice.construction("Wolf") == {"leave_out": ["cries"]}


def test_guards_that_never_looked_at_a_clean_run_are_told_with_the_reason() -> None:
    advice = Advice({})
    advice.learn([ran("clean-3", idle={"Wolf": "Wolf looked 0 times, and left looks out: it was dark (3x)"})])
    advice.judge("f", MODE, ran("f", idle={"Bear": "of a fault's making"}, first_step=4))
    assert advice.to_json()["idle"] == {"Wolf": "Wolf looked 0 times, and left looks out: it was dark (3x)"}


def test_a_guard_that_looked_at_one_clean_run_is_none_that_never_looked() -> None:
    advice = Advice({})
    dark = {"Wolf": "Wolf looked 0 times, and left looks out: it was dark (3x)", "Bear": "Bear looked 0 times"}
    advice.learn([ran("clean-3"), ran("clean-4", idle=dark)])
    assert not advice.idle
    other = Advice({})
    other.learn([ran("clean-3", idle=dark), ran("clean-4", idle={"Bear": "Bear looked 0 times"})])
    assert list(other.idle) == ["Bear"]


def test_an_alarm_before_the_fault_acted_is_not_because_of_it() -> None:
    found = Advice({}).judge("f", MODE, ran("f", alarm("G", "a", 3), alarm("G", "b", 6), first_step=4))
    assert [(seen.check, seen.step, seen.latency) for seen in found] == [("b", 6, 2)]


def test_an_alarm_of_a_clean_run_that_went_the_same_way_is_none() -> None:
    resumed = ran("clean-reloaded", alarm("G", "short", 8))
    assert Advice({}).judge("f", MODE, ran("f", alarm("G", "short", 8), first_step=4), [resumed]) == []


def test_what_never_acted_was_detected_by_nobody() -> None:
    assert Advice({}).judge("f", MODE, ran("f", alarm("G", "a", 3))) == []


def test_a_prescription_names_each_guard_once_the_quickest_first_with_its_cost() -> None:
    advice = Advice({}, costs={"Late": 0.1, "Early": 0.02})
    alarms = [alarm("Late", "a", 9), alarm("Early", "b", 7), alarm("Early", "a", 4)]
    advice.judge("f", MODE, ran("f", *alarms, first_step=4))
    assert advice.prescription("f") == [
        Prescribed("faultlab.guards.Early", 4, 0.02),
        Prescribed("faultlab.guards.Late", 9, 0.1),
    ]


def test_costs_are_shares_of_the_time_that_training_takes_without_guards() -> None:
    advice = Advice({})
    advice.learn([ran("clean-1", seconds={"G": 0.2})])
    assert advice.costs == {"G": pytest.approx(0.25)}


def test_a_run_that_is_only_recorded_says_nothing_of_false_alarms() -> None:
    advice = Advice({})
    advice.learn([ran("clean-1", watching=False, summary={"runs": 1})])
    assert (advice.known, advice.quiet_runs) == ([{"runs": 1}], [])


@pytest.mark.parametrize(
    ("detected_by", "costs", "cover"),
    [
        ({}, {}, []),
        ({"a": set()}, {}, []),
        ({"a": {"X"}, "b": {"Y"}}, {}, ["X", "Y"]),
        ({"a": {"X", "Z"}, "b": {"Y", "Z"}}, {"Z": 0.9}, ["Z"]),
        ({"a": {"X", "Y"}}, {"X": 0.2, "Y": 0.1}, ["Y"]),
        ({"a": {"X", "Y"}}, {"X": 0.2}, ["Y"]),
        ({"a": {"X", "Y"}}, {"Y": 1e-9}, ["X"]),
        # Half of each of the three would do, if there were half guards.
        ({"a": {"X", "Y"}, "b": {"Y", "Z"}, "c": {"X", "Z"}}, {"X": 1.0, "Y": 2.0, "Z": 3.0}, ["X", "Y"]),
        # However dear, one guard is fewer than two.
        ({"a": {"X", "Z"}, "b": {"Y", "Z"}}, {"X": 0.0, "Y": 0.0, "Z": 1e6}, ["Z"]),
    ],
)
def test_a_cover_is_the_smallest_and_of_those_the_cheapest(detected_by: Any, costs: Any, cover: list[str]) -> None:
    assert smallest_cover(detected_by, costs) == cover


def test_a_cover_is_exact_where_taking_the_most_useful_first_is_not() -> None:
    detected_by = {"1": {"Greedy", "Odd"}, "2": {"Greedy", "Even"}, "3": {"Greedy", "Odd"}, "4": {"Greedy", "Even"},
                  "5": {"Odd"}, "6": {"Even"}}  # fmt: skip
    assert smallest_cover(detected_by, {}) == ["Even", "Odd"]


def test_the_choice_covers_what_is_silent_and_names_what_is_beyond_reach() -> None:
    before = report(silent("nan"), silent("scaled"), silent("offset"), result("loss.zeroed@always", Status.DETECTED))
    found = choose(before, watched(nan={"G"}, scaled={"G", "H"}, zeroed={"I"}))
    assert [(one.guard, one.detects) for one in found.chosen] == [("G", ["loss.nan@always", "loss.scaled@always"])]
    assert found.beyond == ["loss.offset@always"]
    assert found.proven


def test_a_guard_that_compares_with_recorded_runs_is_taken_only_where_it_is_asked_for() -> None:
    before, advice = report(silent("nan"), silent("scaled")), watched(nan={"Known", "G"}, scaled={"Known"})
    advice.arguments["Known"] = {"profile": "runs.json"}
    assert [one.guard for one in choose(before, advice, recorded=True).chosen] == ["Known"]
    without = choose(before, advice)
    assert ([one.guard for one in without.chosen], without.recorded) == (["G"], ["loss.scaled@always"])
    assert without.beyond == [], "a guard that was not to be chosen detects it"


def test_the_harmful_ratio_counts_only_failure_modes_that_did_harm() -> None:
    detected = result("loss.zeroed@always", Status.DETECTED, harm=Harm("val_loss", 1.0, None, True))
    assert harmful_ratio(report(silent("nan"), silent("offset", harmful=False), detected)) == 0.5
    assert harmful_ratio(report(silent("offset", harmful=False))) is None


def test_the_worth_of_guards_is_what_they_detect_and_what_nobody_else_does() -> None:
    both = result("loss.nan@always", "detected", detected_by=[detection(name="A"), detection(name="B")])
    alone = result("loss.zeroed@always", "detected", detected_by=[detection(name="A")])
    lucky = result("loss.summed@always", "detected", detected_by=[detection(name="B"), detection("framework", "x")])
    results = {found.id: found for found in (both, alone, lucky)}
    a, b, c = worth_of(["A", "B", "C"], results)
    assert (a.modes, a.alone) == (["loss.nan", "loss.zeroed"], ["loss.zeroed@always"])
    assert (b.modes, b.alone) == (["loss.nan", "loss.summed"], [])
    assert (c.modes, c.alone, c.proven) == ([], [], None)


def test_a_guard_that_raises_a_false_alarm_in_the_proof_is_not_chosen_again() -> None:
    advice = watched(nan={"G", "H"})
    advice.arguments, advice.costs = {"G": {}, "H": {}}, {"G": 0.0, "H": 0.1}
    before = report(silent("nan"))
    assert [one.guard for one in choose(before, advice).chosen] == ["G"]
    assert advice.reject([Alert("guard", "G", 3, "a false alarm"), Alert("module", "fit", 3, "not a guard's")])
    assert [one.guard for one in choose(before, advice).chosen] == ["H"]
    assert not advice.reject([Alert("module", "fit", 3, "not a guard's")]), "there is nothing to choose again for"


def test_a_metric_that_is_never_logged_suggests_one_of_its_stage() -> None:
    known = ["train_acc", "train_loss", "val_f1", "val_loss"]
    assert _meant("val_acc", known) == "Did you mean 'val_f1'?"
    assert _meant("acc", ["train_acc"]) == "Did you mean 'train_acc'?"


def test_looks_are_counted_over_all_clean_runs() -> None:
    advice = Advice({})
    advice.learn([ran("clean-3", looks={"Wolf": 0, "Bear": 0}), ran("clean-4", looks={"Wolf": 2, "Bear": 0})])
    assert advice.to_json()["looks"] == {"Wolf": 2, "Bear": 0}


def test_a_guard_that_is_idle_in_all_but_a_short_clean_run_keeps_its_reason() -> None:
    advice = Advice({})
    advice.learn([ran("clean-3", idle={"Wolf": "it was dark"}), ran("clean-reloaded", looks={"Wolf": 0})])
    assert advice.idle == {"Wolf": "it was dark"}
    advice.learn([ran("clean-4", looks={"Wolf": 1})])
    assert advice.idle == {}
