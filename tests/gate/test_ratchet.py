"""What was accepted is not lost: the file of it, what falls behind it, and how it is renewed."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.demands import Demands
from faultlab.core.reason import ReasonKind
from faultlab.core.report import FaultResult, Report
from faultlab.errors import InconclusiveError, ScenarioError, UsageError
from faultlab.gate import baseline_check
from faultlab.gate import baseline_file as files
from faultlab.gate.baseline_file import Accepted
from tests.support import detection, report, result

TODAY = datetime.date(2026, 6, 30)
LATER = datetime.date(2027, 6, 30)
GUARD = detection("guard", "Moves", names_cause=True)
OTHER = detection("guard", "Other")
TEST = detection("test", "test_it.py::test_learns")
CRASH = detection("framework", "RuntimeError")
DETECTED = result("a.detected@always", "detected", detected_by=[GUARD, OTHER])
TESTED = result("a.tested@always", "detected", detected_by=[TEST])
SILENT = result("a.silent@always", "silent")
WARNED = result("a.warned@always", "warned")
SAME = result("a.same@always", "no_effect")
WHOLE = (DETECTED, TESTED, SILENT, WARNED, SAME)
DEMANDS = Demands(coverage=0.4, silent={"critical": 0}, latency=5, mutants=0.5)


def _renewed(*reports: Report, before: Accepted | None = None, **more: Any) -> Accepted:
    asked = {"reason": "by design", "expires": LATER, "today": TODAY, **more}
    return baseline_check.renewed(before or Accepted(schema=1), reports, **asked)


STANDARD = _renewed(report(*WHOLE, demands=DEMANDS))


def _check(*faults: FaultResult, today: datetime.date = TODAY, demands: Demands = DEMANDS) -> list[str]:
    found = baseline_check.check(STANDARD, report(*faults, demands=demands), today)
    assert all(reason.kind is ReasonKind.BASELINE and reason.text.startswith("baseline: ") for reason in found)
    return [reason.text.removeprefix("baseline: ") for reason in found]


def _but(*faults: FaultResult) -> list[FaultResult]:
    """The whole, with these in place of those of the same failure modes."""
    modes = {fault.mode for fault in faults}
    return [*(fault for fault in WHOLE if fault.mode not in modes), *faults]


def test_what_is_as_it_was_accepted_passes() -> None:
    assert _check(*WHOLE) == []


def test_what_gets_better_passes_but_for_exemptions_that_are_no_more_needed() -> None:
    assert _check(*_but(replace(DETECTED, detected_by=[GUARD, OTHER, TEST])), result("b.new@always", "detected")) == []
    assert _check(*_but(replace(SILENT, status=WARNED.status))) == []


@pytest.mark.parametrize("status", ["silent", "warned"])
def test_what_somebody_detected_may_not_go_undetected(status: str) -> None:
    word = "silent" if status == "silent" else "only warned of"
    assert _check(*_but(result(DETECTED.id, status))) == [
        f"a.detected is newly {word}: guard:Moves, guard:Other detected it"
    ]


def test_what_was_never_accepted_may_not_be_silent() -> None:
    assert _check(*WHOLE, result("b.new@always", "silent")) == [
        "b.new is silent, which is not accepted in the baseline"
    ]
    assert _check(*_but(result(SAME.id, "silent"))) == ["a.same is silent, which is not accepted in the baseline"]


def test_what_was_accepted_as_warned_of_may_not_be_silent() -> None:
    assert _check(*_but(result(WARNED.id, "silent"))) == ["a.warned is newly silent: it was accepted as only warned of"]


def test_a_detector_that_is_lost_fails_though_others_detect() -> None:
    assert _check(*_but(replace(DETECTED, detected_by=[OTHER]))) == [
        "guard:Moves no longer detects a.detected (now guard:Other)"
    ]


def test_luck_is_no_substitute_for_a_guard() -> None:
    assert _check(*_but(replace(TESTED, detected_by=[CRASH]))) == [
        "test:test_it.py::test_learns no longer detects a.tested (now only framework, incidentally)"
    ]


def test_a_fault_that_has_lost_its_effect_has_lost_its_detectors() -> None:
    (reason,) = _check(*_but(result(TESTED.id, "no_effect")))
    assert reason == "test:test_it.py::test_learns no longer detects a.tested (now without effect)"


@pytest.mark.parametrize("mode", [fault.mode for fault in WHOLE])
def test_every_failure_mode_has_to_be_tried_still(mode: str) -> None:
    assert _check(*(fault for fault in WHOLE if fault.mode != mode)) == [f"{mode} is no longer injected"]
    exempted = [replace(f, status=result("x.y", "ignored").status) if f.mode == mode else f for f in WHOLE]
    assert _check(*exempted) == [f"{mode} is no longer injected: it is ignored"]


def test_an_accepted_silence_expires() -> None:
    assert _check(*WHOLE, today=LATER) == []
    expired = _check(*WHOLE, today=LATER + datetime.timedelta(days=1))
    assert expired == [
        f"accepting {mode} as {status} (by design) expired on 2027-06-30: review it, then renew it with --accept"
        for mode, status in (("a.silent", "silent"), ("a.warned", "warned"))
    ]


def test_an_accepted_silence_that_is_detected_is_stale() -> None:
    (reason,) = _check(*_but(replace(DETECTED, id=SILENT.id, mode=SILENT.mode), DETECTED))
    assert (
        reason
        == "a.silent is accepted as silent, but detected by guard:Moves, guard:Other: renew the baseline with --accept"
    )


@pytest.mark.parametrize(
    ("weaker", "said"),
    [
        ({"coverage": 0.39}, "the gate demanded coverage 0.4, and now 0.39"),
        ({"coverage": None}, "the gate demanded coverage 0.4, and now none"),
        ({"mutants": None}, "the gate demanded mutants 0.5, and now none"),
        ({"latency": 6}, "the gate allowed latency 5, and now 6"),
        ({"latency": None}, "the gate allowed latency 5, and now any"),
        ({"false_alarms": 1}, "the gate allowed false_alarms 0, and now 1"),
        ({"silent": {}}, "the gate allowed silent critical 0, and now any"),
        ({"silent": {"critical": 2}}, "the gate allowed silent critical 0, and now 2"),
    ],
)
def test_a_gate_may_not_ask_for_less(weaker: dict[str, Any], said: str) -> None:
    assert _check(*WHOLE, demands=replace(DEMANDS, **weaker)) == [said]


@pytest.mark.parametrize(
    "stronger", [{"coverage": 0.5}, {"latency": 0}, {"silent": {"critical": 0, "major": 3}}, {"fail_under": 0.1}]
)
def test_a_gate_may_ask_for_more(stronger: dict[str, Any]) -> None:
    assert _check(*WHOLE, demands=replace(DEMANDS, **stronger)) == []


def test_a_scenario_that_was_never_accepted_does_not_pass() -> None:
    (reason,) = baseline_check.check(STANDARD, Report("another", faults=[DETECTED]))
    assert "the scenario is not in the baseline" in reason.text


def test_a_scenario_that_is_no_more_does_not_pass() -> None:
    assert baseline_check.missing(STANDARD, ["made-up", "another"]) == []
    assert "'made-up'" in baseline_check.missing(STANDARD, ["another"])[0].text


def test_a_silence_is_not_accepted_without_a_reason_and_a_day() -> None:
    for lacking in ({"reason": ""}, {"expires": None}):
        with pytest.raises(UsageError, match=r"not detected: made-up: a.silent, made-up: a.warned"):
            _renewed(report(*WHOLE), **lacking)
    with pytest.raises(UsageError, match="2026-06-29 is in the past"):
        _renewed(report(*WHOLE), expires=TODAY - datetime.timedelta(days=1))
    assert _renewed(report(DETECTED), reason="", expires=None).scenarios["made-up"].modes == {"a.detected"}


def test_silences_accepted_before_keep_their_reason_and_their_day() -> None:
    again = _renewed(report(*WHOLE, result("b.new@always", "silent")), before=STANDARD, reason="new", expires=TODAY)
    silences = again.scenarios["made-up"].accepted
    assert (silences["a.silent"].reason, silences["a.silent"].expires) == ("by design", LATER)
    assert (silences["b.new"].reason, silences["b.new"].expires) == ("new", TODAY)


def test_an_expired_silence_and_a_worse_one_need_a_reason_anew() -> None:
    with pytest.raises(UsageError, match=r"a.silent, made-up: a.warned"):
        _renewed(report(*WHOLE), before=STANDARD, reason="", expires=None, today=LATER + datetime.timedelta(days=1))
    with pytest.raises(UsageError, match=r"not detected: made-up: a.warned\n"):
        _renewed(report(*_but(result(WARNED.id, "silent"))), before=STANDARD, reason="", expires=None)


def test_what_is_detected_now_is_taken_out_of_the_silences() -> None:
    again = _renewed(report(*_but(replace(DETECTED, id=SILENT.id, mode=SILENT.mode), DETECTED)), before=STANDARD)
    assert set(again.scenarios["made-up"].accepted) == {"a.warned"}
    assert baseline_check.differences(STANDARD, again) == [
        "made-up: a.silent: silent, accepted until 2027-06-30 -> detected by guard:Moves, guard:Other",
        "made-up: the gate's demands changed",
    ]


def test_scenarios_without_a_report_stay_as_they_were() -> None:
    both = _renewed(Report("another", faults=[DETECTED]), before=STANDARD)
    assert set(both.scenarios) == {"another", "made-up"}
    assert both.scenarios["made-up"] == STANDARD.scenarios["made-up"]


def test_the_file_is_sorted_json_with_a_line_a_failure_mode(tmp_path: Path) -> None:
    text = files.written(_renewed(Report("another", faults=[SILENT, DETECTED]), report(*reversed(WHOLE))))
    assert text == files.written(_renewed(report(*WHOLE), Report("another", faults=[DETECTED, SILENT])))
    lines = text.split("\n")
    assert list(json.loads(text)["scenarios"]) == ["another", "made-up"]
    assert '    "a.detected": ["guard:Moves", "guard:Other"],' in lines
    assert '    "a.silent": {"status": "silent", "reason": "by design", "expires": "2027-06-30"},' in lines
    assert text.endswith("}\n")


def test_the_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "accepted.json"
    file.write_text(files.written(STANDARD), encoding="utf-8")
    assert files.read(file) == STANDARD


@pytest.mark.parametrize(
    ("old", "new", "place", "said", "remedy"),
    [
        ('"schema": 1,', '"schema": 1', "3:2", "invalid JSON", "Fix the JSON syntax"),
        ('"schema": 1', '"schema": 2', "2:2", "schema", ""),
        ('"detected"', '"detectd"', "10:4", "unknown key 'detectd'", "'detected'"),
        ('"expires": "2027-06-30"', '"expires": "soon"', "7:61", "expires", "2027-06-30"),
        ('"reason": "by design", ', "", "7:5", "missing key 'reason'", "Add `reason:`"),
        ('"status": "warned"', '"status": "fine"', "8:18", "status", ""),
        ('["guard:Moves", "guard:Other"]', '"guard:Moves"', "11:5", "a.detected", "Write a list"),
    ],
)
def test_a_mistake_in_the_file_is_said_with_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str, remedy: str
) -> None:
    file = tmp_path / "accepted.json"
    text = files.written(STANDARD)
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        files.read(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:{place}: "), message
    assert said in message
    assert remedy in message


def test_a_file_that_is_not_there_and_one_with_nothing_in_it_are_no_baselines(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file\n.*--accept"):
        files.read(tmp_path / "accepted.json")
    for nothing in ('{"schema": 1}', '{"schema": 1, "scenarios": {"x": {}}}'):
        (tmp_path / "accepted.json").write_text(nothing)
        with pytest.raises(InconclusiveError, match="the baseline is empty"):
            files.read(tmp_path / "accepted.json")
    (tmp_path / "accepted.json").write_text("[]")
    with pytest.raises(ScenarioError, match="1:1: expected a mapping of a baseline file's keys"):
        files.read(tmp_path / "accepted.json")
