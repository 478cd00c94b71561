"""What those who write guards and report formats are given: a file that is found at once and not yet good enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faultlab.catalogue import guard_scaffold
from faultlab.errors import UsageError
from faultlab.report import format_scaffold
from tests import warm
from tests.cli.test_cli import ROOT, _faultlab

GUARD = """
from faultlab import guards
from tests.guards import test_contract
from tests.guards.rig import fit

cls = guards.LabelsSpread
assert guards.__file__.startswith({folder!r}), guards.__file__
assert cls in guards.classes()
test_contract.test_every_guard_in_the_package_is_offered()
test_contract.test_a_guard_is_quiet_on_a_healthy_training(cls)
told = test_contract.test_a_guard_declares_its_purpose_its_checks_and_its_cost
try:
    told(cls)
except AssertionError:
    cls.checks = {{"single": "nearly all labels of an epoch are of one class"}}
    told(cls)
    print("right")
"""
FORMAT = """
from pathlib import Path
from faultlab.report import reporters
from faultlab.report.formats import findings
from tests.report.contract import FormatTester, mutant, report

assert reporters.__file__.startswith({folder!r}), reporters.__file__
tester = type("Tester", (FormatTester,), {{"file": "findings.csv"}})()
tester.test_it_is_among_the_files_that_are_taken_away_before_the_next_campaign()

def told():
    tester.test_it_says_something_and_can_be_read(tester.of(report(mutants=[mutant()]), Path()))

try:
    told()
except AssertionError:
    object.__setattr__(findings.FORMAT, "render", lambda report: "mode,status")
    told()
    print("right")
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of faultlab's source to write into."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(ROOT / "faultlab", tmp_path / "faultlab", ignore=ignored))


def right(code: str, package: Path) -> None:
    """The code finds what it looks for, with faultlab imported from the copy."""
    folder = str(package.parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(ROOT)])}
    done = warm.run(["-c", code.format(folder=folder)], cwd=folder, env=env)
    assert done.stdout.endswith("right\n"), done.stdout[-2000:] + done.stderr[-2000:]


def lint(*files: Path) -> None:
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--config", ROOT / "pyproject.toml", *files]
        assert subprocess.run(ruff).returncode == 0


def test_the_scaffold_of_a_guard_is_listed_and_fails_its_contract_until_it_checks_something(package: Path) -> None:
    done = _faultlab("dev", "new", "guard", "LabelsSpread", "--into", package / "guards")
    assert (done.status, done.err) == (0, "")
    assert "labels_spread.py: LabelsSpread; fill in" in done.out
    lint(package / "guards" / "labels_spread.py", package / "guards" / "__init__.py")
    right(GUARD, package)


def test_the_scaffold_of_a_format_is_found_and_fails_its_contract_until_it_says_something(package: Path) -> None:
    done = _faultlab("dev", "new", "format", "findings.csv", "--into", package / "report" / "formats")
    assert (done.status, done.err) == (0, "")
    assert "findings.py: findings.csv; fill in" in done.out
    lint(package / "report" / "formats" / "findings.py")
    right(FORMAT, package)


def test_a_guard_elsewhere_is_written_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("mine = 1\n")
    (file,) = guard_scaffold.add("Spread2d", tmp_path)
    assert file == tmp_path / "spread2d.py"
    assert (tmp_path / "__init__.py").read_text() == "mine = 1\n"
    with pytest.raises(UsageError, match="Spread2d already exists"):
        guard_scaffold.add("Spread2d", tmp_path)


@pytest.mark.parametrize(("name", "why"), [
    ("labels-spread", "invalid guard name 'labels-spread': expected the name of a class, such as LabelsSpread"),
    ("LossFalls", "LossFalls already exists"),
])  # fmt: skip
def test_a_guard_of_no_new_name_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        guard_scaffold.add(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "why"), [
    ("../findings.csv", "invalid file name"),
    ("junit.xml", "faultlab itself writes a file of that name"),
    ("report.json", "faultlab itself writes a file of that name"),
    ("2026.csv", "the name of its module would be '2026'"),
    ("sarif.txt", "sarif.py already exists"),
])  # fmt: skip
def test_a_format_of_no_new_name_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "sarif.py").touch()
    with pytest.raises(UsageError, match=why):
        format_scaffold.add(name, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["sarif.py"]


@pytest.mark.parametrize(("words", "said"), [
    (["engine", "toy"], "expected [mode|guard|format] NAME"),
    (["guard"], "expected [mode|guard|format] NAME"),
    (["guard", "LabelsSpread", "Another"], "expected [mode|guard|format] NAME"),
    (["guard", "LabelsSpread", "--seam", "Loss"], "--seam applies to failure modes only"),
    (["mode", "loss.nan"], "loss.nan already exists"),
])  # fmt: skip
def test_what_can_not_be_begun_is_told_and_ends_with_status_2(tmp_path: Path, words: list[str], said: str) -> None:
    shutil.copy(ROOT / "faultlab" / "injectors" / "loss.py", tmp_path)
    done = _faultlab("dev", "new", *words, "--into", tmp_path)
    assert done.status == 2
    assert said in done.err
    assert [file.name for file in tmp_path.iterdir()] == ["loss.py"]
