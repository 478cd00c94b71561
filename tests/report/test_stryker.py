"""mutation-report.json: what Stryker's viewers ask for is there, and says what report.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.detection import Detection
from faultlab.core.report import FaultResult, Report
from faultlab.core.run_folder import MUTANTS_FOLDER
from faultlab.report import files
from faultlab.report.formats import stryker
from tests.report.pages import HOSTILE, sample
from tests.report.test_report_mutants import BY_TEST, KILLED, UNTRAINED, every
from tests.support import detection, mutant, mutated

SOURCE = "".join(f"        x = 1  # line {number}\n" for number in range(1, 31))
SCORED = {"Killed", "Timeout", "Survived", "NoCoverage"}
STATUSES = SCORED | {"CompileError", "RuntimeError", "Ignored", "Pending"}


def exported(report: Report, out: Path, source: str | None = SOURCE) -> dict[str, Any]:
    if source is not None:
        copy = out / report.scenario / MUTANTS_FOLDER / "pkg" / "model.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source, encoding="utf-8")
    files.write(report, out)
    return json.loads((out / report.scenario / stryker.FILE).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def mutants_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for file in found["files"].values() for one in file["mutants"]]


def only(result: FaultResult, out: Path, source: str | None = SOURCE) -> dict[str, Any]:
    (one,) = mutants_of(exported(mutated(result), out, source))
    return one


def test_it_has_all_that_the_schema_asks_for(tmp_path: Path) -> None:
    found = exported(mutated(*every()), tmp_path)
    assert found["schemaVersion"] == "2.0"
    assert found["thresholds"] == {"high": 80, "low": 60}
    assert found["framework"]["name"] == "faultlab"
    assert found["framework"]["dependencies"]["mutmut"] == "3.8.1"
    assert found["files"]["pkg/model.py"]["language"] == "python"
    assert found["files"]["pkg/model.py"]["source"] == SOURCE
    listed = mutants_of(found)
    assert len({one["id"] for one in listed}) == len(listed) == 10
    for one in listed:
        assert one["mutatorName"] == "number"
        assert one["status"] in STATUSES
        assert one["replacement"] == "2"
        assert one["location"]["start"]["column"] == 13
        assert one["location"]["end"] == {"line": one["location"]["start"]["line"], "column": 14}
        assert isinstance(one["duration"], float)
    tests = {test["id"] for file in found["testFiles"].values() for test in file["tests"]}
    assert {killer for one in listed for killer in one.get("killedBy", [])} == tests


def test_a_viewer_comes_to_the_same_score(tmp_path: Path) -> None:
    report = mutated(*every())
    statuses = [one["status"] for one in mutants_of(exported(report, tmp_path))]
    counted = [status for status in statuses if status in SCORED]
    assert report.mutation is not None
    assert sum(status in ("Killed", "Timeout") for status in counted) / len(counted) == pytest.approx(
        report.mutation.score, abs=5e-5
    )
    assert statuses == [
        *["Killed"] * 3, "Survived", "Survived", "Survived", "NoCoverage", "Ignored", "Ignored", "RuntimeError",
    ]  # fmt: skip


def test_who_killed_is_a_test_of_its_file_or_one_of_the_training(tmp_path: Path) -> None:
    found = exported(mutated(*every()), tmp_path)
    killed = mutants_of(found)[:3]
    assert [one["killedBy"] for one in killed] == [
        ["tests/test_model.py::test_forward"],
        ["guard FiniteLoss"],
        ["framework exception"],
    ]
    assert found["testFiles"]["tests/test_model.py"]["tests"] == [
        {"id": "tests/test_model.py::test_forward", "name": "test_forward"}
    ]
    assert [test["name"] for test in found["testFiles"]["the training"]["tests"]] == [
        "framework exception",
        "guard FiniteLoss",
    ]
    assert "assert 1 == 2" in killed[0]["statusReason"]


def hung(name: str, message: str) -> list[Detection]:
    return [Detection("process", name, 0, 0, False, message)]


@pytest.mark.parametrize(
    ("tests", "detected_by", "status"),
    [
        ({"outcome": "timeout"}, hung("pytest", "it never ends"), "Timeout"),
        ({"outcome": "not_activated"}, hung("deadline", "it never ends"), "Timeout"),
        ({"outcome": "crashed"}, hung("pytest", "it ends the process"), "Killed"),
        (KILLED, [BY_TEST, *hung("deadline", "it never ends")], "Killed"),
    ],
)
def test_what_never_ends_is_a_timeout_unless_a_test_failed_before(
    tmp_path: Path, tests: dict[str, str], detected_by: list[Detection], status: str
) -> None:
    assert only(mutant("detected", 3, tests=tests, detected_by=detected_by), tmp_path)["status"] == status


def test_what_is_not_in_the_score_says_why(tmp_path: Path) -> None:
    reasons = [one["statusReason"] for one in mutants_of(exported(mutated(*every()), tmp_path))[-3:]]
    assert reasons == [
        "the training is the clean one, to the bit",
        "the loader never has fewer",
        "its process was lost",
    ]


@pytest.mark.parametrize("source", [None, SOURCE.replace("x = 1", "renamed = 1")])
def test_a_source_that_is_gone_or_another_by_now_is_pieced_together_from_the_diffs(
    tmp_path: Path, source: str | None
) -> None:
    found = exported(mutated(mutant("silent", 3), mutant("silent", 7)), tmp_path, source)
    lines = found["files"]["pkg/model.py"]["source"].split("\n")
    assert (lines[2], lines[6]) == ("        x = 1", "        x = 1")
    assert (lines[0], lines[3], len(lines)) == ("", "", 8)


def test_a_word_that_is_put_in_does_not_grow_together_with_its_neighbours(tmp_path: Path) -> None:
    # At column 13 stands `seen`, and `if` before it.
    source = "         if seen:\n" * 5
    assert only(mutant("silent", 2, before="", after="not"), tmp_path, source)["replacement"] == "not "
    close = "        (if)seen:\n" * 5
    assert only(mutant("silent", 2, before="", after="(not"), tmp_path, close)["replacement"] == "(not "
    assert only(mutant("silent", 2, before="seen", after="None"), tmp_path, source)["replacement"] == "None"


def test_columns_count_as_viewers_do_where_a_character_takes_two_of_their_units(tmp_path: Path) -> None:
    source = '        "\N{PARTY POPPER}" 1\n' * 5
    result = mutant("silent", 2)
    assert only(result, tmp_path, source)["location"]["start"] == {"line": 2, "column": 14}


def test_hostile_strings_and_halves_of_characters_leave_a_readable_file(tmp_path: Path) -> None:
    report = mutated(
        mutant("silent", 3, reason=HOSTILE), mutant("detected", 4, detected_by=[detection("guard", HOSTILE)])
    )
    assert mutants_of(exported(report, tmp_path))[0]["statusReason"] == HOSTILE


def test_a_report_without_mutants_takes_away_what_an_earlier_one_exported(tmp_path: Path) -> None:
    exported(mutated(mutant("silent", 3)), tmp_path)
    files.write(sample("made-up"), tmp_path)
    assert not (tmp_path / "made-up" / stryker.FILE).exists()


def test_tests_are_counted_of_those_that_they_all_passed(tmp_path: Path) -> None:
    assert only(mutant("silent", 3), tmp_path)["testsCompleted"] == 3
    idle = mutant("not_activated", 3, tests={"outcome": "not_activated", "tests": 0}, training=UNTRAINED)
    assert "testsCompleted" not in only(idle, tmp_path)
