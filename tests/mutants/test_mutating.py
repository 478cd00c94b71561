"""`faultlab mutate` over the project in tests/mutated, of whose mutants it is known what they do."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.report import FaultResult, Report, Status
from faultlab.core.threads import one_thread_environment

pytestmark = pytest.mark.nightly(reason="a whole project mutated, by tests and training; the quick ring has one method")
PROJECT = Path(__file__).parents[1] / "mutated"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutated:
    """One run over the whole project."""

    report: Report
    status: int
    before: dict[str, float]
    after: dict[str, float]

    def of(self, function: str, before: str, after: str) -> FaultResult:
        """The verdict on the only mutant of the function that makes this change."""
        (found,) = [
            result
            for result in self.report.mutants
            if result.mutant
            and (result.mutant["function"], result.mutant["before"], result.mutant["after"])
            == (function, before, after)
        ]
        return found

    def by_tests(self, function: str, before: str, after: str) -> tuple[str, str]:
        """What the tests made of it: the outcome and the test that it was."""
        said = _said(self.of(function, before, after))["tests"]
        return said["outcome"], said["test"].rpartition("::")[2]


def _said(result: FaultResult) -> dict[str, Any]:
    assert result.mutant is not None
    return result.mutant


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Mutated:
    out, before = tmp_path_factory.mktemp("out"), _files()
    made = subprocess.run(
        [sys.executable, "-m", "faultlab", "mutate", "scenario.yaml", "--json", "--out", str(out)],
        cwd=PROJECT,
        env={**one_thread_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert made.returncode in (0, 1), made.stderr
    assert [report["scenario"] for report in json.loads(made.stdout)] == ["slopes"]
    return Mutated(Report.read(out / "slopes" / "report.json"), made.returncode, before, _files())


def _files() -> dict[str, float]:
    """The project's own, and when each was written."""
    files = [path for path in PROJECT.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): path.stat().st_mtime for path in files}


def test_every_test_takes_part_in_it(mutated: Mutated) -> None:
    assert mutated.report.baseline.false_alarms == []


def test_no_mutant_goes_without_a_verdict(mutated: Mutated) -> None:
    assert mutated.status == 0
    assert {result.status for result in mutated.report.mutants} == {
        Status.DETECTED, Status.SILENT, Status.NO_EFFECT, Status.NOT_ACTIVATED, Status.IGNORED
    }  # fmt: skip


def test_the_projects_own_files_are_left_alone(mutated: Mutated) -> None:
    assert mutated.after == mutated.before


def test_what_runs_at_import_is_killed_in_a_fresh_process(mutated: Mutated) -> None:
    assert mutated.by_tests("weights", "+", "-") == ("killed", "test_the_table_that_was_made_at_import_is_right")


def test_what_keeps_the_tests_from_being_collected_is_killed(mutated: Mutated) -> None:
    (found,) = mutated.of("weights", "size", "None").detected_by
    assert "can't be collected" in found.message


def test_what_runs_at_import_survives_where_no_test_looks(mutated: Mutated) -> None:
    assert mutated.by_tests("unit", "lower", "upper") == ("survived", "")


def test_what_a_test_compares_with_its_own_work_at_import_survives(mutated: Mutated) -> None:
    """A process that has imported it unmutated would kill it."""
    assert mutated.by_tests("place", "lower", "upper") == ("survived", "")


@pytest.mark.parametrize(
    ("function", "before", "after", "test"),
    [("computed", "2", "3", "test_powers_are_those_of_two"), ("squares", "*", "/", "test_the_late_module_has_squares")],
)
def test_what_one_test_computes_and_another_looks_at_is_killed(
    mutated: Mutated, function: str, before: str, after: str, test: str
) -> None:
    assert mutated.by_tests(function, before, after) == ("killed", test)


def test_a_loop_that_never_ends_is_detected_as_such(mutated: Mutated) -> None:
    assert mutated.by_tests("countdown", "-=", "+=") == ("timeout", "test_a_countdown_ends_at_one")
    (found,) = mutated.of("countdown", "-=", "+=").detected_by
    assert found.kind == "process"
    assert "never ends" in found.message


def test_a_loop_that_ends_all_the_same_survives(mutated: Mutated) -> None:
    assert mutated.by_tests("countdown", "-=", "=") == ("survived", "")


@pytest.mark.parametrize(
    ("function", "status", "test"),
    [
        ("fall_over", "-11", "test_nothing_falls_over_without_problems"),
        ("give_up", "3", "test_nobody_gives_up_without_problems"),
    ],
)
def test_a_crash_is_detected_with_its_status_and_its_test(
    mutated: Mutated, function: str, status: str, test: str
) -> None:
    assert mutated.by_tests(function, ">", ">=") == ("killed", test)
    (found,) = mutated.of(function, ">", ">=").detected_by
    assert found.kind == "process"
    assert found.message.endswith(f"status {status}")


def test_a_function_that_nothing_runs_is_not_activated(mutated: Mutated) -> None:
    found = mutated.of("forgotten", "+", "-")
    assert found.status is Status.NOT_ACTIVATED
    assert found.reason == "its function never runs, neither in a test nor in the training"


def test_what_runs_in_a_loaders_worker_alone_is_activated_and_killed(mutated: Mutated) -> None:
    assert mutated.by_tests("Parabola.__getitem__", "**", "*") == (
        "killed",
        "test_a_worker_of_the_loader_reads_the_points",
    )


def test_what_runs_in_a_process_that_a_test_starts_is_activated_and_killed(mutated: Mutated) -> None:
    assert mutated.by_tests("answer", "6", "7") == ("killed", "test_a_program_says_the_answer")


def test_a_training_that_is_the_same_to_the_bit_makes_a_mutant_equivalent(mutated: Mutated) -> None:
    found = mutated.of("LitLine.forward", "*", "/")
    assert found.status is Status.NO_EFFECT
    assert "to the bit, and each of 4 tests" in found.reason


def test_a_guard_detects_what_the_tests_miss(mutated: Mutated) -> None:
    assert mutated.by_tests("Line.__getitem__", "+", "-") == ("survived", "")
    found = mutated.of("Line.__getitem__", "+", "-")
    assert found.status is Status.DETECTED
    assert [detection.name for detection in found.detected_by] == ["StartsAtOne"]


def test_a_decorated_method_is_listed_as_unmutated(mutated: Mutated) -> None:
    assert mutated.report.mutation is not None
    (why,) = [why for name, why in mutated.report.mutation.unmutated.items() if name.endswith("Scale.doubled")]
    assert "@property" in why


def test_an_exemption_keeps_a_mutant_from_being_judged_and_in_the_report(mutated: Mutated) -> None:
    found = mutated.of("rounded", "+", "-")
    assert found.status is Status.IGNORED
    assert found.reason == "a half more or less is within what is measured"
    assert _said(found)["tests"] is None


@pytest.mark.parametrize(
    ("function", "before", "after", "test"),
    [
        ("LitSquare.__init__", "0.25", "1.25", "test_a_checkpoint_brings_the_hyperparameters_back"),
        ("LitSteep.__init__", "3", "4", "test_a_module_can_leave_a_hyperparameter_out"),
    ],
)
def test_an_init_that_saves_its_hyperparameters_can_be_mutated(
    mutated: Mutated, function: str, before: str, after: str, test: str
) -> None:
    assert mutated.by_tests(function, before, after) == ("killed", test)


def test_tests_that_rest_on_a_training_kill_its_mutants(mutated: Mutated) -> None:
    assert mutated.by_tests("LitLine.training_step", '"loss"', '"LOSS"') == ("killed", "test_it_logs_its_loss")


def test_what_a_class_of_tests_sets_up_is_killed_by_one_of_them(mutated: Mutated) -> None:
    assert mutated.by_tests("span", "0", "1") == ("killed", "test_it_goes_from_end_to_end")


def test_a_test_with_an_empty_environment_runs_the_mutant(mutated: Mutated) -> None:
    assert mutated.by_tests("Scale.clamp", "0", "1") == ("killed", "test_clamped_in_an_empty_environment")


def test_a_class_method_is_mutated_where_it_is_inherited_from(mutated: Mutated) -> None:
    assert mutated.by_tests("Scale.scaled", "*", "/") == ("killed", "test_a_derived_class_scales_by_its_own_factor")


def test_every_place_holds_what_was_changed_there(mutated: Mutated) -> None:
    for result in mutated.report.mutants:
        said = _said(result)
        source = (PROJECT / said["file"]).read_text()
        begin, end = _span(source, said)
        assert source[begin:end] == said["before"], result.id
        changed = ast.unparse(ast.parse(applied(source, said)))
        assert changed != ast.unparse(ast.parse(source)), result.id


def test_verdicts_are_those_of_the_changed_source_in_a_fresh_process(mutated: Mutated, tmp_path: Path) -> None:
    """Without mutmut: the change is made where the report says that it is, in a copy of the project."""
    tried = {
        ("weights", "1", "2"): 1,
        ("computed", "**", "*"): 1,
        ("unit", "lower", "upper"): 0,
        ("place", "lower", "upper"): 0,
        ("LitLine.forward", "*", "/"): 0,
        ("LitSquare.__init__", "power", "None"): 1,
        ("fall_over", ">", ">="): -11,
    }

    def run(change: tuple[str, str, str]) -> int:
        said = _said(mutated.of(*change))
        copy = tmp_path / said["function"]
        shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / said["file"]).write_text(applied((PROJECT / said["file"]).read_text(), said))
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider"]
        environment = {**one_thread_environment(), "PYTHONPATH": os.pathsep.join([str(copy), str(ROOT)])}
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode

    with ThreadPoolExecutor(2) as pool:
        assert dict(zip(tried, pool.map(run, tried))) == tried
    assert {change: mutated.by_tests(*change)[0] for change in tried} == {
        change: "killed" if status else "survived" for change, status in tried.items()
    }


def applied(source: str, mutant: dict[str, Any]) -> str:
    """The source with the change made."""
    begin, end = _span(source, mutant)
    # What is put in stands by itself.
    space = " " if not mutant["before"] else ""
    return source[:begin] + mutant["after"] + space + source[end:]


def _span(source: str, mutant: dict[str, Any]) -> tuple[int, int]:
    lines = source.splitlines(keepends=True)

    def at(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + column - 1

    return at(mutant["line"], mutant["column"]), at(mutant["end_line"], mutant["end_column"])
