"""The gate on reports that lie on disk: what it refuses to trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Report
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate import evidence
from faultlab.mutants.mutation import MutationOptions, SourceMutation
from tests.gate.reports import DETECTED, SILENT, Gate, edit, look_green, whole
from tests.support import report, result, run_folder


def test_a_report_as_it_was_written_is_taken(tmp_path: Path) -> None:
    file = whole(tmp_path)
    assert evidence.read(file, whole=True) == Report.read(file)
    data = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(data.items())), indent=4))
    assert evidence.read(file, whole=True).scenario == "made-up", "layout and order are no edit"


@pytest.mark.parametrize("key", ["passed", "reasons", "ratio", "status", "scenario"])
def test_a_report_that_was_edited_is_refused(tmp_path: Path, key: str) -> None:
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "passed": lambda data: data["gate"].update(passed=not data["gate"]["passed"]),
        "reasons": lambda data: data["gate"].update(reasons=["none"]),
        "ratio": lambda data: data["coverage"].update(ratio=1.0),
        "status": lambda data: data["faults"][1].update(status="detected"),
        "scenario": lambda data: data.update(scenario="another"),
    }
    file = whole(tmp_path)
    edit(file, changes[key])
    with pytest.raises(InconclusiveError, match="its digest does not match"):
        evidence.read(file)


def test_a_report_without_a_digest_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = whole(tmp_path)
    edit(file, lambda data: data.pop("digest"))
    with pytest.raises(InconclusiveError, match=r"it has no digest\n.*faultlab run"):
        evidence.read(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data["coverage"].update(ratio=1.0), "its coverage does not follow"),
        (lambda data: data["faults"][1].update(status="detected"), "a.silent@always is detected, but has no detector"),
        (
            lambda data: data["gate"].update(passed=True, reasons=[], kinds=[]),
            "lacks the reason 'coverage 0.50 is below 0.80'",
        ),
        (lambda data: data["gate"].update(passed=True), "its gate has passed: true and 1 reasons"),
        (lambda data: data["faults"].append(data["faults"][0]), "(2 times)"),
    ],
)
def test_a_new_digest_does_not_make_up_for_conclusions_that_do_not_follow(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    file = whole(tmp_path, demands=Demands(coverage=0.8))
    edit(file, change, sealed=True)
    with pytest.raises(InconclusiveError, match=said):
        evidence.read(file)


def test_a_report_that_agrees_with_itself_has_to_agree_with_its_run_folder(tmp_path: Path) -> None:
    file = whole(tmp_path, demands=Demands(coverage=0.8))
    edit(file, look_green, sealed=True)
    assert evidence.read(file).ratio == 1.0, "alone it can't be told from a true one"
    with pytest.raises(InconclusiveError, match=r"(?s)not the report that.*plan.json.*a.silent@always is reported"):
        evidence.read(file, whole=True)


def test_a_fault_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    def take_out(data: dict[str, Any]) -> None:
        data["faults"] = data["faults"][:1]
        data["coverage"] = json.loads(json.dumps(Report.from_json(data).coverage()))

    file = whole(tmp_path)
    edit(file, take_out, sealed=True)
    with pytest.raises(InconclusiveError, match=r"a\.silent@always was planned, but has no verdict"):
        evidence.read(file, whole=True)


def test_a_reason_that_only_the_run_could_see_can_not_be_taken_out(tmp_path: Path) -> None:
    file = whole(tmp_path, reasons=[Reason(ReasonKind.CANARY, "a step that always raises was not detected")])
    edit(file, lambda data: data["gate"].update(passed=True, reasons=[], kinds=[]), sealed=True)
    with pytest.raises(InconclusiveError, match="it is not the report"):
        evidence.read(file, whole=True)


@pytest.mark.parametrize("torn", ["plan.json", "outcomes.jsonl"])
def test_a_run_folder_that_is_torn_proves_nothing(tmp_path: Path, torn: str) -> None:
    file = whole(tmp_path)
    (file.parent / torn).write_text("{")
    with pytest.raises(InconclusiveError, match="can't read"):
        evidence.read(file, whole=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', "\x00"])
def test_what_is_no_report_is_a_mistake_in_the_call(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UsageError, match=r"report\.json"):
        evidence.read(tmp_path / "report.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["faults"][0].update(severity=["major"], mode={}),
        lambda data: data["gate"].update(demands={"coverage": "much"}),
        lambda data: data["gate"].update(demands={"silent": None}),
        lambda data: data["gate"].update(exemptions=[{"mode": "loss.nan", "reason": "why", "expires": "soon"}]),
        lambda data: data["gate"].update(exemptions=[{}]),
        lambda data: data["baseline"].update(false_alarms=5),
    ],
)
def test_values_that_no_report_has_are_a_mistake_in_the_call(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    file = whole(tmp_path)
    edit(file, change, sealed=True)
    with pytest.raises(UsageError, match="not a faultlab report"):
        evidence.read(file)


def test_mutants_are_not_put_into_a_report_that_was_edited(tmp_path: Path) -> None:
    file = whole(tmp_path)
    mutation: Any = SourceMutation(MutationOptions(paths=(tmp_path,), out=tmp_path), None, None)  # type: ignore[arg-type]
    name = type("Named", (SourceMutation,), {"name": "made-up"})
    mutation.__class__ = name
    assert mutation._known_report().faults == [DETECTED, SILENT]
    edit(file, lambda data: data["gate"].update(reasons=["none"]))
    with pytest.raises(InconclusiveError):
        mutation._known_report()


def test_a_report_edited_by_hand_to_look_green_is_inconclusive(gate: Gate, tmp_path: Path) -> None:
    file = whole(tmp_path / "reports", demands=Demands(silent={"critical": 0}))
    assert gate().status == 1
    for sealed in (False, True):
        edit(file, look_green, sealed)
        done = gate()
        assert done.status == 4
        assert "Run the scenario again" in done.out


def test_a_report_alone_is_taken_and_said_to_be_alone(gate: Gate, tmp_path: Path) -> None:
    file = whole(tmp_path / "reports")
    assert "note:" not in gate().out
    (file.parent / "plan.json").unlink()
    done = gate()
    assert done.status == 0
    assert "only its digest was checked" in done.out


@pytest.mark.parametrize("faults", [[], [result("a.b@always", "not_applicable")], [result("a.b@always", "ignored")]])
def test_a_scenario_that_was_emptied_proves_nothing(gate: Gate, tmp_path: Path, faults: list[Any]) -> None:
    run_folder(tmp_path / "reports", report(*faults))
    done = gate()
    assert done.status == 4
    assert "no fault was activated" in done.out
