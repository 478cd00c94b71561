"""The verdict on a mutant from what tests and training say of it, the rows by method, and the report they stand in."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faultlab.campaign import verdict
from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.verdict import Twin
from faultlab.catalogue import index, mutation_scores
from faultlab.core.report import SOURCE, FaultResult, Report, Status, dump
from faultlab.core.results import Outcome
from faultlab.core.source_mutation import Mutation
from faultlab.core.trajectory import Trajectory
from faultlab.mutants.by_tests import CRASHED, KILLED, LOST, NOT_ACTIVATED, SURVIVED, TIMEOUT, TestVerdict
from faultlab.mutants.by_training import ByTraining
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.verdicts import join
from tests.support import detection, report, result

MUTANT = Mutant("a.x_f__mutmut_1", "a.py", "f", "argument removed", 3, 5, 3, 7, "x,", "", "--- a.py", "digest")
TESTS = {
    KILLED: TestVerdict(KILLED, "t.py::test_f", "test", "assert 1 == 2", 2, 0.25),
    TIMEOUT: TestVerdict(TIMEOUT, "t.py::test_f", "process", "still running after 3 s", 2),
    CRASHED: TestVerdict(CRASHED, "t.py::test_f", "process", "the process ended with status -11", 2),
    SURVIVED: TestVerdict(SURVIVED, tests=2),
    NOT_ACTIVATED: TestVerdict(NOT_ACTIVATED),
    LOST: TestVerdict(LOST, message="the fork server died"),
    None: None,
}


def _training(status: Status) -> FaultResult:
    by = [detection()] if status is Status.DETECTED else []
    return result(
        "source.x", status, detected_by=by, activations=3, first_step=2, seconds=0.5, reason=f"r {status.value}"
    )


RAN = [Status.DETECTED, Status.WARNED, Status.SILENT, Status.NO_EFFECT]
TRAININGS = [*RAN, Status.NOT_ACTIVATED, Status.ERROR, Status.TIMEOUT, None]


def _expected(tests: str | None, training: Status | None, watches: bool) -> Status:
    """The table: who detects wins, then what failed, then what never ran, then what the training says."""
    if tests in (KILLED, TIMEOUT, CRASHED) or training is Status.DETECTED:
        return Status.DETECTED
    if tests == LOST or training in (Status.ERROR, Status.TIMEOUT):
        return Status.ERROR
    if tests != SURVIVED and training not in RAN:
        return Status.NOT_ACTIVATED
    if training is Status.WARNED:
        return Status.WARNED
    return Status.NO_EFFECT if training is Status.NO_EFFECT and not watches else Status.SILENT


@pytest.mark.parametrize(("tests", "training", "watches"), list(itertools.product(TESTS, TRAININGS, [False, True])))
def test_a_verdict_is_joined_of_what_both_judges_say(tests: str | None, training: Status | None, watches: bool) -> None:
    judged = join(MUTANT, TESTS[tests], _training(training) if training else None, watches)
    assert judged.status is _expected(tests, training, watches)
    assert bool(judged.detected_by) == (judged.status is Status.DETECTED)
    assert (judged.status is Status.DETECTED) or judged.reason
    exempted = join(
        replace(MUTANT, exemption="why not"), TESTS[tests], _training(training) if training else None, watches
    )
    assert (exempted.status, exempted.reason) == (Status.IGNORED, "why not")


@pytest.mark.parametrize(
    ("tests", "training", "reason"),
    [
        (KILLED, None, ""),
        (KILLED, Status.DETECTED, ""),
        (SURVIVED, Status.DETECTED, "the tests miss it, and the training does not"),
        (None, Status.DETECTED, ""),
        (LOST, Status.SILENT, "the fork server died"),
        (SURVIVED, Status.ERROR, "r error"),
        (NOT_ACTIVATED, None, "its function never runs, in a test"),
        (None, Status.NOT_ACTIVATED, "its function never runs, in the training"),
        (NOT_ACTIVATED, Status.NOT_ACTIVATED, "its function never runs, neither in a test nor in the training"),
        (SURVIVED, None, "each of 2 tests that runs it passes"),
        (SURVIVED, Status.WARNED, "the training gives a new warning"),
        (SURVIVED, Status.NO_EFFECT, "r no_effect, and each of 2 tests that runs it passes"),
        (NOT_ACTIVATED, Status.NO_EFFECT, "r no_effect"),
        (SURVIVED, Status.NOT_ACTIVATED, "each of 2 tests that runs it passes; the training does not run it"),
        (NOT_ACTIVATED, Status.SILENT, "no test runs it; r silent, and no guard detects it"),
        (None, Status.SILENT, "r silent, and no guard detects it"),
    ],
)
def test_the_reason_says_who_ran_it_and_who_did_not(tests: str | None, training: Status | None, reason: str) -> None:
    assert join(MUTANT, TESTS[tests], _training(training) if training else None).reason == reason


def test_what_only_looks_on_is_no_equivalent_mutant_because_the_training_is_the_same() -> None:
    judged = join(MUTANT, None, _training(Status.NO_EFFECT), watches=True)
    assert judged.reason == "the training is the same with it, and no guard detects it"


def test_one_test_is_told_as_the_only_one() -> None:
    assert join(MUTANT, TestVerdict(SURVIVED, tests=1), None).reason == "the only test that runs it passes"


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (KILLED, "test", "assert 1 == 2"),
        (TIMEOUT, "process", "it never ends: still running after 3 s"),
        (CRASHED, "process", "it ends the process: the process ended with status -11"),
    ],
)
def test_the_killing_test_is_named_before_the_guards(outcome: str, kind: str, message: str) -> None:
    first, second = join(MUTANT, TESTS[outcome], _training(Status.DETECTED)).detected_by
    assert (first.kind, first.name, first.message) == (kind, "t.py::test_f", message)
    assert second == detection()


def test_a_mutant_that_kills_pytest_itself_is_detected_by_pytest() -> None:
    (found,) = join(MUTANT, TestVerdict(KILLED, message="pytest ended with status 4"), None).detected_by
    assert (found.kind, found.name) == ("test", "pytest")


def test_a_verdict_says_where_the_mutant_stands_and_what_each_judge_said() -> None:
    judged = join(MUTANT, TESTS[KILLED], _training(Status.SILENT))
    assert (judged.id, judged.mode, judged.family) == (MUTANT.name, "source.argument-removed", SOURCE)
    assert (judged.activations, judged.first_step, judged.seconds) == (3, 2, 0.75)
    said = judged.mutant
    assert said is not None
    assert not {"name", "digest", "exemption"} & set(said)
    assert (said["file"], said["line"], said["column"], said["end_line"], said["end_column"]) == ("a.py", 3, 5, 3, 7)
    assert (said["before"], said["after"], said["diff"], said["function"]) == ("x,", "", "--- a.py", "f")
    assert said["tests"]["test"] == "t.py::test_f"
    assert said["training"] == {"status": "silent", "reason": "r silent"}
    assert json.loads(dump(judged.to_json()))["mutant"] == said


def _mutant_result(status: Status, function: str, line: int = 1, file: str = "a.py") -> FaultResult:
    return replace(result("source.number", status), mutant={"file": file, "function": function, "line": line})


def test_rows_are_by_function_the_weakest_first() -> None:
    mutants = [
        _mutant_result(Status.DETECTED, "all"),
        _mutant_result(Status.IGNORED, "nothing counts"),
        _mutant_result(Status.NO_EFFECT, "nothing counts"),
        *[_mutant_result(status, "half", line) for status, line in [(Status.DETECTED, 9), (Status.SILENT, 7)]],
        *[_mutant_result(status, "worse") for status in [Status.NOT_ACTIVATED, Status.SILENT, Status.WARNED]],
        _mutant_result(Status.SILENT, "bad", 4),
        _mutant_result(Status.SILENT, "bad", 4, "b.py"),
        _mutant_result(Status.SILENT, "bad, above", 2),
    ]
    rows = mutation_scores.rows(mutants, {}, {})
    assert [(row["function"], row["file"], row["detected"], row["counted"]) for row in rows] == [
        ("worse", "a.py", 0, 3),
        ("bad, above", "a.py", 0, 1),
        ("bad", "a.py", 0, 1),
        ("bad", "b.py", 0, 1),
        ("half", "a.py", 1, 2),
        ("all", "a.py", 1, 1),
        ("nothing counts", "a.py", 0, 0),
    ]
    by_name = {row["function"]: row for row in rows}
    assert by_name["half"]["line"] == 7
    assert by_name["worse"]["not_activated"] == 1


def test_failure_modes_stand_beside_the_method_that_they_bite_in() -> None:
    known = index.modes()
    judged = {"return.none": Status.DETECTED, "loss.nan": Status.SILENT, "loss.constant": Status.NOT_APPLICABLE}
    assert {known[id].method for id in judged if id in known} == {"training_step"}
    mutants = [_mutant_result(s, "Lit.training_step") for s in [Status.DETECTED] * 9 + [Status.SILENT] * 3]
    (row,) = mutation_scores.rows([*mutants], {**judged, "own.mode": Status.SILENT}, known)
    assert mutation_scores.sentence(row) == "Lit.training_step: 9 of 12 mutants killed, 1 of 2 failure modes detected"
    (other,) = mutation_scores.rows([_mutant_result(Status.SILENT, "Lit.other")], judged, known)
    assert mutation_scores.sentence(other) == "Lit.other: 0 of 1 mutant killed"


def test_every_failure_mode_of_the_catalogue_bites_in_a_method_or_in_none() -> None:
    found = {mode.method for mode in index.modes().values()}
    assert {"training_step", "forward", "configure_optimizers", "train_dataloader", "__init__", ""} <= found


def test_a_report_with_mutants_is_read_back_as_it_was(tmp_path: Path) -> None:
    judged = [join(MUTANT, TESTS[KILLED], None), join(MUTANT, TESTS[SURVIVED], _training(Status.SILENT))]
    summary = Mutation(
        "3.8.1", ["a.py"], ["tests"], 0.5, {"silent": 1}, [{"function": "f"}], {"a.py:1 g": "why"}, ["n"]
    )
    whole = report(result("loss.nan", Status.DETECTED, detected_by=[detection()]), mutants=judged, mutation=summary)
    file = tmp_path / "report.json"
    file.write_text(dump(whole.to_json()))
    again = Report.read(file)
    assert again == whole
    assert again.to_json() == whole.to_json()


def test_mutants_count_for_no_coverage_of_failure_modes() -> None:
    faults = [result("loss.nan", Status.DETECTED, detected_by=[detection()]), result("return.none", Status.SILENT)]
    alone, joined = report(*faults), report(*faults, mutants=[join(MUTANT, TESTS[SURVIVED], None)], mutation=Mutation())
    assert joined.ratio == alone.ratio == 0.5
    assert joined.to_json()["coverage"] == alone.to_json()["coverage"]
    assert joined.silent() == alone.silent()
    assert [fault["family"] for fault in joined.to_json()["faults"]] == ["loss", "return", SOURCE]


def test_a_report_without_mutants_has_no_word_of_them() -> None:
    written: dict[str, Any] = report(result("loss.nan", Status.SILENT)).to_json()
    assert "mutants" not in written
    assert all("mutant" not in fault for fault in written["faults"])


@pytest.mark.parametrize(("repeats", "status"), [([], Status.NO_EFFECT), ([Trajectory(steps=1)], Status.SILENT)])
def test_only_what_is_the_same_to_the_bit_is_equivalent(
    repeats: list[Trajectory], status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_: Any = None
    judge = ByTraining(any_, any_, (), any_, any_, 0, None, any_, any_)
    findings: Any = SimpleNamespace(advice=Advice())
    judge.findings = findings
    monkeypatch.setattr(verdict, "judge", lambda *arguments: result("source.x", Status.NO_EFFECT))
    judged = judge._judged(MUTANT, Outcome(MUTANT.name), Twin(Trajectory(), repeats=repeats))
    assert judged.status is status
    assert join(MUTANT, None, judged).status is status
