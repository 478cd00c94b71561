"""Which verdicts of earlier runs still hold, and that none is lost or believed without cause."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faultlab.core.report import Status
from faultlab.mutants import store
from faultlab.mutants.by_tests import CRASHED, KILLED, LOST, NOT_ACTIVATED, SURVIVED, TIMEOUT, TestVerdict
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.store import Circumstances, Store, asked_tests, test_files
from tests.generated_mutants import generated, project
from tests.support import detection, result

MUTANT = Mutant("a.x_f__mutmut_1", "a.py", "f", "number", 1, 1, 1, 2, "1", "2", "", "digest")
NOW = Circumstances({"tests/test_a.py": "1", "tests/test_b.py": "2", "tests/conftest.py": "3"}, "training")
DEAD = TestVerdict(KILLED, "tests/test_a.py::test_f[ü]", "test", "assert 1 == 2", 3, 0.5)
test_files.__test__ = False  # type: ignore[attr-defined]


def _stored(file: Path, circumstances: Circumstances = NOW) -> Store:
    known = Store(file, circumstances)
    known.load()
    return known


@pytest.mark.parametrize("outcome", [KILLED, SURVIVED, TIMEOUT, CRASHED, NOT_ACTIVATED])
def test_a_verdict_of_tests_is_the_same_in_the_next_run(outcome: str, tmp_path: Path) -> None:
    verdict = replace(DEAD, outcome=outcome)
    _stored(tmp_path / "v").heard_from_tests(MUTANT, verdict)
    assert _stored(tmp_path / "v").tests(MUTANT) == verdict


@pytest.mark.parametrize(
    "status", [Status.DETECTED, Status.WARNED, Status.SILENT, Status.NO_EFFECT, Status.NOT_ACTIVATED]
)
def test_a_verdict_of_the_training_is_the_same_in_the_next_run(status: Status, tmp_path: Path) -> None:
    verdict = result("source.number", status, detected_by=[detection()], warnings=["w"], first_step=3)
    verdict = replace(verdict, id=MUTANT.name)
    _stored(tmp_path / "v").heard_from_training(MUTANT, verdict)
    assert _stored(tmp_path / "v").training(MUTANT) == verdict


def test_what_proves_nothing_is_not_kept(tmp_path: Path) -> None:
    known = _stored(tmp_path / "v")
    known.heard_from_tests(MUTANT, replace(DEAD, outcome=LOST))
    for status in (Status.ERROR, Status.TIMEOUT):
        known.heard_from_training(MUTANT, result("source.number", status))
    assert (known.tests(MUTANT), known.training(MUTANT)) == (None, None)
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("changed", "killed", "survived"),
    [
        ({}, True, True),
        ({"tests/test_a.py": "9"}, False, False),
        ({"tests/test_b.py": "9"}, True, False),
        ({"tests/test_new.py": "9"}, True, False),
        ({"tests/conftest.py": "9"}, False, False),
        ({"tests/helper.py": "9"}, False, False),
        ({"pyproject.toml": "9"}, False, False),
    ],
)
def test_a_killed_mutant_hangs_on_its_tests_file_and_a_survivor_on_all(
    changed: dict[str, str], killed: bool, survived: bool, tmp_path: Path
) -> None:
    other = replace(MUTANT, digest="other")
    before = _stored(tmp_path / "v")
    before.heard_from_tests(MUTANT, DEAD)
    before.heard_from_tests(other, TestVerdict(SURVIVED, tests=2))
    after = _stored(tmp_path / "v", Circumstances({**NOW.tests, **changed}, "training"))
    assert (after.tests(MUTANT) is not None, after.tests(other) is not None) == (killed, survived)


def test_a_verdict_of_a_test_whose_file_is_gone_or_unknown_hangs_on_all_of_them(tmp_path: Path) -> None:
    before = _stored(tmp_path / "v")
    before.heard_from_tests(MUTANT, replace(DEAD, test=""))
    assert before.tests(MUTANT) is not None
    assert _stored(tmp_path / "v", Circumstances({"tests/test_a.py": "1"}, "training")).tests(MUTANT) is None


def test_other_circumstances_of_the_training_undo_its_verdict_alone(tmp_path: Path) -> None:
    before = _stored(tmp_path / "v")
    before.heard_from_tests(MUTANT, DEAD)
    before.heard_from_training(MUTANT, result("source.number", Status.SILENT))
    after = _stored(tmp_path / "v", replace(NOW, training="other"))
    assert (after.tests(MUTANT), after.training(MUTANT)) == (DEAD, None)


@pytest.mark.parametrize("change", [{"digest": "other"}, {"file": "b.py"}, {"name": "a.x_g__mutmut_1"}])
def test_a_verdict_is_of_this_change_of_this_function_in_this_file(change: dict[str, str], tmp_path: Path) -> None:
    _stored(tmp_path / "v").heard_from_tests(MUTANT, DEAD)
    assert _stored(tmp_path / "v").tests(replace(MUTANT, **change)) is None


def test_the_number_that_mutmut_gives_a_mutant_does_not_matter(tmp_path: Path) -> None:
    known = _stored(tmp_path / "v")
    known.heard_from_training(MUTANT, result("source.number", Status.SILENT))
    found = _stored(tmp_path / "v").training(replace(MUTANT, name="a.x_f__mutmut_9", line=7))
    assert found is not None
    assert found.id == "a.x_f__mutmut_9"


def test_verdicts_of_a_function_are_kept_while_others_change(tmp_path: Path) -> None:
    source = "def f(x):\n    return x + 1\n\n\ndef g(x):\n    return x - 1\n"
    first, _ = generated(tmp_path / "first", {"a.py": source})
    known = _stored(tmp_path / "v")
    for mutant in first.mutants:
        known.heard_from_tests(mutant, DEAD)
    changed = "import os\n\n\n" + source.replace("x - 1", "x - 1 + os.x")
    second, _ = generated(tmp_path / "second", {"a.py": changed})
    again = _stored(tmp_path / "v")
    kept = {mutant.function: again.tests(mutant) is not None for mutant in second.mutants}
    assert kept == {"f": True, "g": False}


@pytest.mark.parametrize("rest", ['{"mutant": "a.py:x_f', "\x00\x00", "[]", "3", '{"mutant": "x"}', '{"tests": {}}'])
def test_a_line_that_was_cut_short_costs_no_other(rest: str, tmp_path: Path) -> None:
    other = replace(MUTANT, digest="other")
    _stored(tmp_path / "v").heard_from_tests(MUTANT, DEAD)
    with (tmp_path / "v").open("a") as file:
        file.write(rest)
    after = _stored(tmp_path / "v")
    assert after.tests(MUTANT) == DEAD
    after.heard_from_tests(other, DEAD)
    last = _stored(tmp_path / "v")
    assert (last.tests(MUTANT), last.tests(other)) == (DEAD, DEAD)


def test_a_verdict_that_another_version_has_written_otherwise_is_left_out(tmp_path: Path) -> None:
    key = f"{MUTANT.file}:{MUTANT.mangled}:{MUTANT.digest}"
    of_tests = {"tests": {"outcome": "killed", "new": 1}, "for_tests": NOW.of_tests(DEAD)}
    line = {"mutant": key, **of_tests, "training": {}, "for_training": "training"}
    (tmp_path / "v").write_text(json.dumps(line))
    known = _stored(tmp_path / "v")
    assert (known.tests(MUTANT), known.training(MUTANT)) == (None, None)


def test_the_last_verdict_holds(tmp_path: Path) -> None:
    known = _stored(tmp_path / "v")
    known.heard_from_tests(MUTANT, TestVerdict(SURVIVED))
    known.heard_from_tests(MUTANT, DEAD)
    assert _stored(tmp_path / "v").tests(MUTANT) == DEAD


def test_what_tests_are_made_of_is_watched_and_nothing_else(tmp_path: Path) -> None:
    watched = ["test_a.py", "b_test.py", "conftest.py", "pyproject.toml", "pytest.ini", "tests/helper.py", "asked/h.py"]
    watched.append("tests/data.csv")
    files = [*watched, "model.py", "asked/notes.md", "asked.py", "made_by_faultlab/pytest.ini"]
    root = project(tmp_path, dict.fromkeys([*watched, "model.py", "asked/notes.md", "asked.py"], "1"))
    assert set(test_files(root, ["asked::test_x"], files)) == set(watched)
    assert set(test_files(root, ["."], ["model.py"])) == {"model.py"}


def test_tests_outside_of_the_project_are_watched(tmp_path: Path) -> None:
    root = project(tmp_path / "project", {"model.py": ""})
    project(tmp_path / "others", {"test_a.py": "1", "x/helper.py": "1"})
    asked = asked_tests(root, [f"{tmp_path}/others::test_x"])
    assert asked == ["../others::test_x"]
    assert set(test_files(root, asked, ["model.py"])) == {"../others/test_a.py", "../others/x/helper.py"}


@pytest.mark.parametrize(
    ("then", "now", "killed", "survived"),
    [
        ((), ("tests/test_a.py",), True, False),
        ((), ("tests",), True, False),
        (("tests/test_a.py",), ("tests/test_b.py",), False, False),
        (("tests/test_a.py::test_f",), (), True, False),
        (("tests/test_a.py",), ("tests/test_a.py::test",), False, False),
        (("tests/test_a.py", "x"), ("x", "tests/test_a.py"), True, True),
    ],
)
def test_a_verdict_is_of_the_tests_that_are_asked_for(
    then: tuple[str, ...], now: tuple[str, ...], killed: bool, survived: bool, tmp_path: Path
) -> None:
    other = replace(MUTANT, digest="other")
    before = _stored(tmp_path / "v", replace(NOW, asked=then))
    before.heard_from_tests(MUTANT, DEAD)
    before.heard_from_tests(other, TestVerdict(SURVIVED, tests=2))
    after = _stored(tmp_path / "v", replace(NOW, asked=now))
    assert (after.tests(MUTANT) is not None, after.tests(other) is not None) == (killed, survived)


def test_a_verdict_at_a_deadline_is_of_that_deadline(tmp_path: Path) -> None:
    _stored(tmp_path / "v", replace(NOW, timeout=0.1)).heard_from_tests(MUTANT, replace(DEAD, outcome=TIMEOUT))
    assert _stored(tmp_path / "v").tests(MUTANT) is None


def test_a_test_file_is_another_if_its_text_or_a_version_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path, {"test_a.py": "1"})
    first = test_files(root, [], ["test_a.py"])
    assert test_files(root, [], ["test_a.py"]) == first
    project(root, {"test_a.py": "2"})
    second = test_files(root, [], ["test_a.py"])
    monkeypatch.setattr(store, "versions", lambda: {"pytest": "99"})
    assert len({str(found) for found in (first, second, test_files(root, [], ["test_a.py"]))}) == 3


def test_versions_are_those_of_what_verdicts_come_from() -> None:
    assert {"python", "mutmut", "pytest", "torch"} <= set(store.versions())
