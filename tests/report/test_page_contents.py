"""What the page and the terminal say of a report: counts, harm, detectors, guards, and the gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.detection import Prescribed
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Harm, Status, dump
from faultlab.report import overview
from faultlab.report.formats.complaints import findings
from faultlab.report.html import document
from faultlab.report.html.guard_sections import watched
from tests.report.pages import HARMFUL, HARMLESS, HOSTILE, Page, fault, found, sample, save, written


def test_the_parts_of_the_bar_add_up_and_luck_is_not_mixed_with_guards() -> None:
    found = {part.words: part.count for part in document.parts(sample())}
    assert found == {
        "detected by a guard or test that names the cause": 1,
        "detected by a guard or test for another reason": 1,
        "detected by the module's own check": 1,
        "failed incidentally, in the framework or the process": 1,
        "only warned": 1,
        "silent and harmful": 1,
        "silent and harmless, as far as measured": 1,
    }
    assert sum(part.share for part in document.parts(sample())) == pytest.approx(100, abs=0.01)


def test_a_failure_mode_is_counted_as_its_worst_fault() -> None:
    guarded = fault("loss.nan", Status.DETECTED, "step=1", detected_by=[found("guard", cause=True)])
    lucky = fault("loss.nan", Status.DETECTED, detected_by=[found("process")])
    harmless, harmful = fault("a.b", Status.SILENT, harm=HARMLESS), fault("a.b", Status.SILENT, "step=1", harm=HARMFUL)
    others = [fault(f"c.d-{n}", Status.SILENT, harm=HARMLESS) for n in range(2)]
    report = sample(faults=[guarded, lucky, harmless, harmful, *others])
    assert [(part.words, part.count) for part in document.parts(report) if part.count] == [
        ("failed incidentally, in the framework or the process", 1),
        ("silent and harmful", 1),
        ("silent and harmless, as far as measured", 2),
    ]


def test_faults_whose_harm_is_unknown_have_a_part_and_a_section_of_their_own(tmp_path: Path) -> None:
    unknown = Harm("val_loss", 0.5, 0.1, False, "val_loss is computed by what the fault has changed")
    made = sample(faults=[fault("a.b", Status.SILENT, harm=unknown), fault("c.d", Status.SILENT, harm=HARMLESS)])
    assert [(part.words, part.count) for part in document.parts(made) if part.count] == [
        ("silent, their harm unknown", 1),
        ("silent and harmless, as far as measured", 1),
    ]
    made.baseline.findings = [
        {"kind": "direction", "what": f"which way? {HOSTILE}", "evidence": "", "remedy": "say it"}
    ]
    page = written(made, tmp_path)
    assert "Harm unknown (1)" in page.text
    assert "val_loss is computed by what the fault has changed (val_loss 0.1, clean 0.5)" in page.text
    assert page.text.index("Which way?") < page.text.index("Harm unknown (1)")


def test_the_bar_has_a_text_beside_it(tmp_path: Path) -> None:
    page = written(sample(), tmp_path)
    assert page.values("svg", "role") == ["img"]
    assert page.values("svg", "aria-label")[0].startswith("digits: coverage 0.57: 4 detected, 1 only warned, 2 silent")
    assert "1 silent and harmful" in page.text


def test_every_silent_fault_is_told_with_its_id_cost_and_lesson(tmp_path: Path) -> None:
    faults = [fault("return.none", Status.SILENT, f"step={n}", harm=HARMFUL) for n in range(40)]
    faults += [fault(f"loss.mode-{n}", Status.SILENT) for n in range(40)]
    page = written(sample(faults=faults), tmp_path)
    assert all(f"{each.id}" in page.text for each in faults)
    assert "val_loss 2.25, clean 0.5 (harmful)" in page.text
    assert "Why it goes undetected" in page.text
    assert "not in the catalogue" in page.text
    assert not [found for tag, found in page.tags if "open" in found]


def test_the_worst_silent_faults_come_first(tmp_path: Path) -> None:
    faults = [fault(f"a.m-{n}", Status.SILENT, harm=Harm("val_loss", 1.0, 2.0 + n, True)) for n in range(6)]
    page = written(sample(faults=faults), tmp_path)
    lessons = [found for tag, found in page.tags if tag == "details" and found.get("class") == "lesson"]
    assert [found["id"] for found in lessons] == [f"a.m-{n}" for n in (5, 4, 3, 2, 1, 0)]


def test_a_metric_that_lies_is_told_beside_what_the_evaluation_says() -> None:
    constant = fault("metric.constant", Status.SILENT, harm=Harm("val_loss", 0.57, 1.0, True))
    assert overview.cost(constant) == "val_loss is reported as 1, but is 0.57 (harmful)"
    gone = fault("metric.missing", Status.SILENT, harm=Harm("val_loss", 0.57, None, True))
    assert overview.cost(gone) == "val_loss is reported as no number, but is 0.57 (harmful)"


def test_the_matrix_says_who_detected_and_how_late(tmp_path: Path) -> None:
    guard = [found("guard", "FiniteLoss", True, latency) for latency in (1, 4)]
    faults = [fault("loss.nan", Status.DETECTED, f"step={n}", detected_by=[each]) for n, each in enumerate(guard)]
    faults.append(fault("loss.nan", Status.DETECTED, "always", detected_by=[found("process", latency=7)]))
    page = written(sample(faults=faults), tmp_path)
    assert ("td", {"class": "h01"}) in page.tags, "it names the cause, at most four steps later"
    assert ("td", {"class": "h32"}) in page.tags, "it fails incidentally, seven steps later"
    assert "+1\N{EN DASH}4 (2 of 3)" in page.text
    assert "+7 (1 of 3)" in page.text
    assert page.text.count("guard FiniteLoss") == 4


def test_what_is_inconclusive_what_alarms_falsely_and_the_gate_are_loud(tmp_path: Path) -> None:
    report = sample()
    report.passed, report.reasons = False, [Reason(ReasonKind.COVERAGE, f"reason {n}") for n in range(12)]
    report.baseline.false_alarms = [Alert("guard", "Nervous", 3, "too hot")]
    page = written(report, tmp_path)
    for words in ("1 false alarm on clean runs", "Nervous, step 3: too hot", "Gate NOT passed", "reason 11"):
        assert words in page.text
    for words in ("Inconclusive (3)", "batch.none@always", "it never acted", "the injector failed", "still running"):
        assert words in page.text
    for words in ("no floating output", "a constant rate on purpose", "to the bit", "UserWarning: look here"):
        assert words in page.text


def test_the_terminal_chooses_harm_first_and_of_that_each_family() -> None:
    severe = Harm("val_loss", 0.5, 9.0, True)
    faults = [fault(f"a.mode-{n}", Status.SILENT, harm=severe) for n in range(3)]
    report = sample(faults=[fault("c.mode", Status.SILENT), *faults, fault("b.mode", Status.SILENT, harm=HARMFUL)])
    for most, chosen in ((2, "a.mode-0 b.mode"), (3, "a.mode-0 a.mode-1 b.mode")):
        named = [row.partition("@")[0] for row in overview.silent_rows(report, most)]
        assert named == chosen.split()


def test_silent_faults_come_in_one_order_on_terminal_page_and_summary(tmp_path: Path) -> None:
    gone, unknown = Harm("val_loss", 0.5, None, True), Harm("val_loss", 0.5, 0.6, False, "it is unknown")
    of_weights = Harm("val_loss", 0.5, 0.5, True, seen_by="w is not finite")
    faults = [
        fault("a.harmless", Status.SILENT, harm=HARMLESS, severity="critical"),
        fault("b.unknown", Status.SILENT, harm=unknown, severity="critical"),
        *(fault(f"c.nan-{n}", Status.SILENT, harm=gone, severity="critical") for n in range(3)),
        fault("d.weights", Status.SILENT, harm=of_weights, severity="critical"),
        *(fault(f"e.nan-{n}", Status.SILENT, harm=gone) for n in range(3)),
        fault("f.wrong", Status.SILENT, harm=Harm("val_loss", 0.5, 0.9, True)),
        fault("g.worse", Status.SILENT, harm=Harm("val_loss", 0.5, 9.0, True)),
        fault("h.severe", Status.SILENT, harm=HARMFUL, severity="critical"),
    ]
    report = sample(faults=faults)
    expected = [
        "h.severe g.worse f.wrong",
        "c.nan-0 c.nan-1 c.nan-2 e.nan-0 e.nan-1 e.nan-2 d.weights",
        "b.unknown",
        "a.harmless",
    ]
    order = [name for some in expected for name in some.split()]
    assert [one.mode for one in report.silent()] == order
    assert [row.partition("@")[0] for row in overview.silent_rows(report, 50)] == order
    assert [one.rule for one in findings(report)] == order
    silent = written(report, tmp_path).source.partition('id="silent"')[2]
    places = [silent.index(f"{name}@always") for name in order]
    assert places == sorted(places)


def test_a_scenario_that_asks_for_nothing_is_not_said_to_have_passed_a_gate(tmp_path: Path) -> None:
    report = sample()
    report.demands = Demands()
    page = written(report, tmp_path)
    assert "set limits in the scenario" in page.text
    assert "Gate passed" not in page.text + Page(tmp_path / "index.html").text
    assert "no gate in the scenario" in overview.one_line(report)
    report.demands = Demands(coverage=0.1)
    assert "gate passed" in overview.one_line(report)


def test_where_no_gate_was_asked_for_none_is_said_to_have_failed(tmp_path: Path) -> None:
    report = sample()
    report.demands, report.passed = Demands(), False
    for alarms, kind, said in (
        ([Alert("guard", "A", 0, "x")], ReasonKind.FALSE_ALARMS, "false alarms"),
        ([], ReasonKind.FAULT_UNPROVEN, "inconclusive"),
        ([], ReasonKind.EXEMPTION, "not passed"),
    ):
        report.baseline.false_alarms, report.reasons = alarms, [Reason(kind, "no words decide")]
        assert report.gate == f"no gate in the scenario; {said}"
        page = written(report, tmp_path)
        assert f"No gate in the scenario; {said}" in page.text
        assert "Add one to the scenario" not in page.text
        assert "box failed" in page.source
    report.reasons = [Reason(ReasonKind.BASELINE, "a.b is newly silent")]
    assert report.gate == "gate NOT passed", "what was accepted is a gate"


def test_a_guard_would_add_no_more_than_nobody_detected(tmp_path: Path) -> None:
    guard = [Prescribed("faultlab.guards.Steps", 1, 0.1)]
    faults = [
        fault("a.silent", Status.SILENT, prescription=guard),
        fault("a.warned", Status.WARNED, prescription=guard),
        # Of a report from before a test that detects took the prescription away.
        fault("a.tested", Status.DETECTED, prescription=guard),
        fault("a.beyond", Status.SILENT),
    ]
    found = {
        "false_alarms": [],
        "detected": {},
        "costs": {"Steps": 0.1},
        "quiet_runs": [],
        "broken": {},
        "disturbed": "",
    }
    (tmp_path / "guards.json").write_text(json.dumps(found))
    told = watched(tmp_path, faults)
    assert told is not None
    assert (told["silent"], told["warned"]) == (2, 1)
    assert [(one.silent, one.warned) for one in told["offered"]] == [(1, 1)]


def test_guards_that_never_looked_are_named_with_the_reason(tmp_path: Path) -> None:
    why = "Wolf looked 0 times, and left looks out: it was dark (3x)"
    found = {"false_alarms": [], "detected": {}, "quiet_runs": ["clean-reloaded"], "broken": {}, "disturbed": ""}
    found["costs"] = {"Wolf": 0.0, "Owl": 0.0, "Mole": 0.0}
    save(sample(), tmp_path)
    (tmp_path / "digits" / "guards.json").write_text(
        json.dumps({**found, "idle": {"Wolf": why}, "looks": {"Owl": 3, "Mole": 0}})
    )
    text = written(sample(), tmp_path).text
    assert "could not look: it was dark (3x)" in text
    assert "looked, detected nothing" in text
    assert "counted no look: this training may have nothing that it judges" in text
    assert '"clean-reloaded" is a clean training that is stopped and continues from its checkpoint' in text


def test_what_is_different_from_the_run_before_is_said_detector_by_detector(tmp_path: Path) -> None:
    guard = [found("guard", "Steps", True)]
    before = [
        fault("return.none", Status.DETECTED, detected_by=guard),
        fault("loss.nan", Status.DETECTED, detected_by=guard),
    ]
    before += [fault(f"a.mode-{n}", Status.DETECTED, detected_by=guard) for n in range(20)]
    after = [fault("return.none", Status.SILENT), fault("loss.nan", Status.DETECTED, detected_by=guard)]
    after += [fault(f"a.mode-{n}", Status.DETECTED, detected_by=[found("framework")]) for n in range(20)]
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "previous.json").write_text(dump(sample(faults=before).to_json()))
    page = written(sample(faults=after), tmp_path)
    assert "Coverage 95 %, before 100 %." in page.text
    assert "Newly silent" in page.text
    assert "guard:Steps misses 21 failure modes" in page.text, "folded"
    assert "#compared" in page.values("a", "href")
    (tmp_path / "digits" / "previous.json").write_text("{")
    assert "Since the previous run" not in written(sample(faults=after), tmp_path).text
