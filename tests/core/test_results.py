"""The report: its form on disk, which other tools read, and what is counted from the verdicts."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Baseline, FaultResult, Harm, Report, Status, dump
from tests.support import detection, report, result

STATUSES = [
    "detected",
    "warned",
    "silent",
    "no_effect",
    "not_applicable",
    "not_activated",
    "timeout",
    "error",
    "ignored",
]

# The contract of report.json, schema 1. A change of it needs another schema number.
ALARM: dict[str, Any] = {"kind": "guard", "name": "Spike", "step": 3, "message": "too high"}
CONTRACT: dict[str, Any] = {
    "schema": 1,
    "scenario": "digits",
    "faultlab": "0.1.0",
    "versions": {"torch": "2.6.0", "lightning": "2.5.0", "python": "3.11.7"},
    "baseline": {
        "seconds": 1.9,
        "steps": 32,
        "deterministic": True,
        "seeds": [0, 1, 2],
        "metrics": {"val_loss": 0.11},
        "false_alarms": [ALARM],
    },
    "faults": [
        {
            "id": "return.none@always",
            "mode": "return.none",
            "family": "return",
            "severity": "critical",
            "status": "detected",
            "reason": "",
            "activations": 3,
            "first_step": 0,
            "detected_by": [
                {"kind": "guard", "name": "Moves", "step": 1, "latency": 1, "names_cause": True, "message": "no loss"}
            ],
            "warnings": ["it returned `None`"],
            "harm": {"metric": "val_loss", "clean": 0.11, "faulty": 2.3, "harmful": True},
            "prescription": [{"guard": "faultlab.guards.StepsTaken", "step": 1, "cost": 0.002}],
            "seconds": 0.08,
        }
    ],
    "coverage": {
        "modes": {**dict.fromkeys(STATUSES, 0), "detected": 1},
        "faults": {**dict.fromkeys(STATUSES, 0), "detected": 1},
        "ratio": 1.0,
        "by_detector": {"guard:Moves": 1},
    },
    "timing": {"import": 5.3, "baseline": 1.9, "faults": 4.1, "total": 11.9, "jobs": 2},
    "gate": {
        "passed": False,
        "reasons": ["1 false alarms on clean runs, 0 allowed"],
        "kinds": ["false_alarms"],
        "demands": {"coverage": 0.8, "silent": {"critical": 0}, "latency": 4},
        "exemptions": [{"mode": "label.*", "reason": "no labels", "expires": "2027-06-30"}],
    },
}
CONTRACT["digest"] = hashlib.sha256(json.dumps(CONTRACT, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _contracted() -> Report:
    found = FaultResult(
        id="return.none@always",
        mode="return.none",
        family="return",
        severity="critical",
        status=Status.DETECTED,
        activations=3,
        first_step=0,
        detected_by=[Detection("guard", "Moves", 1, 1, True, "no loss")],
        warnings=["it returned `None`"],
        harm=Harm("val_loss", 0.11, 2.3, True),
        prescription=[Prescribed("faultlab.guards.StepsTaken", 1, 0.002)],
        seconds=0.08,
    )
    return Report(
        "digits",
        versions={"torch": "2.6.0", "lightning": "2.5.0", "python": "3.11.7"},
        baseline=Baseline(1.9, 32, True, [0, 1, 2], {"val_loss": 0.11}, [Alert(**ALARM)]),
        faults=[found],
        timing={"import": 5.3, "baseline": 1.9, "faults": 4.1, "total": 11.9, "jobs": 2},
        passed=False,
        reasons=[Reason(ReasonKind.FALSE_ALARMS, "1 false alarms on clean runs, 0 allowed")],
        faultlab="0.1.0",
        demands=Demands(coverage=0.8, silent={"critical": 0}, latency=4),
        exemptions=[{"mode": "label.*", "reason": "no labels", "expires": "2027-06-30"}],
    )


def test_report_json_has_exactly_the_designed_form() -> None:
    assert json.loads(dump(_contracted().to_json())) == CONTRACT
    assert dump(_contracted().to_json()) == json.dumps(CONTRACT), "and in that order"


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(dump(_contracted().to_json()), encoding="utf-8")
    assert Report.read(file) == _contracted()


@pytest.mark.parametrize("status", STATUSES)
def test_a_verdict_without_harm_or_detections_is_read_back_too(status: str) -> None:
    found = report(result("return.none@once", status, reason="so it is"))
    assert Report.from_json(json.loads(dump(found.to_json()))) == found


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", "{}", '{"schema": 2}', '{"schema": 1, "scenario": "x"}'])
def test_what_is_no_report_of_this_schema_is_refused_as_a_value_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"line 1|schema|not a faultlab report"):
        Report.read(file)


def test_numbers_that_are_not_finite_become_null_at_any_depth() -> None:
    data = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], "c": {"d": {"e": math.nan}}, "f": Status.SILENT}
    assert json.loads(dump(data)) == {"a": None, "b": [None, [None, 1.5]], "c": {"d": {"e": None}}, "f": "silent"}
    harmed = report(result("a.b@always", "silent", harm=Harm("loss", 0.5, math.nan, True)))
    assert json.loads(dump(harmed.to_json()))["faults"][0]["harm"]["faulty"] is None


def test_text_that_no_encoding_can_write_is_written_all_the_same(tmp_path: Path) -> None:
    odd = report(result("a.b@always", "silent", reason="caf\xe9 \ud800 \u2028 \x00"))
    file = tmp_path / "report.json"
    file.write_text(dump(odd.to_json()), encoding="utf-8")
    assert Report.read(file) == odd


def test_the_status_of_a_failure_mode_is_that_of_its_worst_fault() -> None:
    found = report(
        result("a.one@step=1", "detected"),
        result("a.one@step=2", "silent"),
        result("a.two@step=1", "warned"),
        result("a.two@step=2", "detected"),
        result("a.three@step=1", "detected"),
        result("a.three@step=2", "no_effect"),
    )
    assert found.by_mode() == {"a.one": Status.SILENT, "a.two": Status.WARNED, "a.three": Status.DETECTED}


@pytest.mark.parametrize("worse", ["error", "not_activated", "timeout"])
def test_an_inconclusive_fault_does_not_hide_behind_another_that_was_detected(worse: str) -> None:
    found = report(result("a.b@step=1", "detected"), result("a.b@step=2", worse))
    assert found.by_mode() == {"a.b": Status(worse)}
    assert found.ratio is None


def test_nothing_is_worse_than_silence() -> None:
    for status in STATUSES:
        found = report(result("a.b@step=1", status), result("a.b@step=2", "silent"))
        assert found.by_mode() == {"a.b": Status.SILENT}


def test_the_ratio_is_of_failure_modes_that_acted_and_had_an_effect() -> None:
    counted = [
        result("a.a@step=1", "detected"),
        result("a.a@step=2", "detected"),
        result("a.a@step=3", "detected"),
        result("a.b@always", "warned"),
        result("a.c@always", "silent"),
        result("a.d@always", "detected"),
    ]
    uncounted = [result(f"b.{status.replace('_', '-')}@always", status) for status in STATUSES[3:]]
    assert report(*counted, *uncounted).ratio == 2 / 4
    assert report(*uncounted).ratio is None
    assert report().ratio is None


def test_coverage_counts_failure_modes_and_faults_apart() -> None:
    found = report(result("a.b@step=1", "detected"), result("a.b@step=2", "silent"), result("a.c@always", "ignored"))
    coverage = found.to_json()["coverage"]
    assert coverage["modes"] == {**dict.fromkeys(STATUSES, 0), "silent": 1, "ignored": 1}
    assert coverage["faults"] == {**dict.fromkeys(STATUSES, 0), "detected": 1, "silent": 1, "ignored": 1}


def test_by_detector_counts_the_failure_modes_that_each_detected_most_first() -> None:
    both = [detection(name="Spike"), detection("framework", "exception")]
    found = report(
        result("a.one@step=1", "detected", detected_by=both),
        result("a.one@step=2", "detected", detected_by=[detection(name="Spike")]),
        result("a.two@always", "detected", detected_by=[detection("framework", "other"), detection("test", "test_it")]),
        result("a.three@always", "timeout", detected_by=[detection("process", "deadline")]),
    )
    assert list(found.by_detector().items()) == [("framework", 2), ("guard:Spike", 1), ("test:test_it", 1)]


def test_the_best_detection_is_the_one_worth_most() -> None:
    by_worth = [
        detection("guard", names_cause=True),
        detection("test", names_cause=False),
        detection("module", names_cause=True),
        detection("framework", names_cause=True),
    ]
    assert [found.worth for found in by_worth] == [0, 1, 2, 3]
    assert detection("process").worth == 3
    while by_worth:
        assert result("a.b@always", "detected", detected_by=by_worth[::-1]).best == by_worth[0]
        del by_worth[0]
    assert result("a.b@always", "silent").best is None


def test_silent_faults_come_worst_first() -> None:
    def silent(id: str, severity: str, harm: Harm | None) -> FaultResult:
        return result(id, "silent", severity=severity, harm=harm)

    found = report(
        silent("a.unknown@always", "critical", None),
        silent("a.harmless@always", "critical", Harm("loss", 1.0, 1.0, False)),
        silent("a.minor@always", "minor", Harm("loss", 1.0, 99.0, True)),
        silent("a.some@always", "critical", Harm("loss", 1.0, 2.0, True)),
        silent("a.more@always", "critical", Harm("loss", 1.0, 3.0, True)),
        silent("a.gone@always", "critical", Harm("loss", 1.0, None, True)),
        silent("a.untold@always", "minor", Harm("loss", 1.0, None, False, "nobody knows")),
        result("a.seen@always", "detected"),
    )
    order = ["a.more", "a.some", "a.minor", "a.gone", "a.unknown", "a.untold", "a.harmless"]
    assert [fault.mode for fault in found.silent()] == order


def test_what_is_written_is_strict_json_that_a_reader_can_read(tmp_path: Path) -> None:
    assert dump({"name": "größe", "n": 1}) == '{"name": "größe", "n": 1}'
    assert dump({"n": [1]}, indent=1) == '{\n "n": [\n  1\n ]\n}'
    assert dump(Status.SILENT) == '"silent"'


def test_detectors_that_detected_as_many_stand_by_name() -> None:
    both = [detection(name="B"), detection(name="A")]
    whole = report(
        result("a.one@always", "detected", detected_by=[*both, detection(name="Z")]),
        result("a.two@always", "detected", detected_by=[detection(name="Z")]),
    )
    assert list(whole.by_detector().items()) == [("guard:Z", 2), ("guard:A", 1), ("guard:B", 1)]


def test_a_report_of_another_schema_is_told_by_its_schema() -> None:
    data = {**_contracted().to_json(), "schema": 99}
    with pytest.raises(ValueError, match="unsupported report schema 99: this version reads schema 1"):
        Report.from_json(data)


def test_what_a_report_lacks_is_named(tmp_path: Path) -> None:
    data = _contracted().to_json()
    del data["timing"]
    (tmp_path / "report.json").write_text(dump(data))
    with pytest.raises(ValueError, match=r"report.json is not a faultlab report: KeyError: 'timing'"):
        Report.read(tmp_path / "report.json")


def test_where_the_target_stands_is_read_back() -> None:
    target = {"class_path": "pkg.M", "file": "pkg.py", "line": 3, "methods": {"training_step": 7}}
    whole = report(target=target)
    assert whole.to_json()["target"] == target
    assert Report.from_json(whole.to_json()) == whole
    assert "target" not in report().to_json()
