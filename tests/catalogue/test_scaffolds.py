"""What those who write guards and report formats are given: a file that is found at once and not yet good enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faultlab.catalogue import guard_scaffold, interface_scaffold
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

SEAM = """
from faultlab.catalogue import scaffold
from faultlab.injection import hooks

assert hooks.__file__.startswith({folder!r}), hooks.__file__
assert scaffold.seams()["GradientBucket"].about
if "GradientBucket" in hooks.offered("torch") and "GradientBucket" in hooks.offered("lightning"):
    print("right")
"""
INTERFACES = """
from faultlab import engines
from faultlab.engines import Engine
from faultlab.frameworks import base, registry

assert engines.__file__.startswith({folder!r}), engines.__file__
engine, framework = engines.create("my_cluster", 2), registry.named("my_cluster")
assert (engine.jobs, engine.alone, framework.name) == (2, False, "my_cluster")
for made, interface in ((engine, Engine), (framework, base.Framework)):
    lacks = [name for name in vars(interface) if not name.startswith("_") and name not in dir(made)]
    assert lacks == [], lacks
try:
    engine.close()
except NotImplementedError:
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


def test_the_scaffold_of_a_seam_is_a_point_with_a_hook_for_every_framework(package: Path) -> None:
    done = _faultlab("dev", "new", "seam", "GradientBucket", "--into", package)
    assert (done.status, done.err) == (0, "")
    points, seams = package / "catalogue" / "injection_points", package / "frameworks" / "torch" / "seams"
    lint(points / "gradient_bucket.py", points / "__init__.py", seams / "gradient_bucket.py")
    right(SEAM, package)


def test_the_scaffolds_of_an_engine_and_a_framework_are_found_with_every_member_to_fill_in(package: Path) -> None:
    listed = {"engine": ("engines", "engines/__init__"), "framework": ("frameworks", "core/framework_names")}
    for kind, (folder, listing) in listed.items():
        done = _faultlab("dev", "new", kind, "my_cluster", "--into", package / folder)
        assert (done.status, done.err) == (0, "")
        assert f"Added to {os.path.relpath(package / listing)}.py." in done.out
    toolkit = package / "frameworks" / "my_cluster"
    lint(package / "engines" / "my_cluster.py", package / "engines" / "__init__.py", toolkit, package / "core")
    right(INTERFACES, package)


def test_an_engine_elsewhere_is_to_be_listed_by_its_own_package(tmp_path: Path) -> None:
    done = _faultlab("dev", "new", "engine", "my_cluster", "--into", tmp_path)
    assert "entry points of your package: `my_cluster` in the group `faultlab.engines`" in done.out
    assert [file.name for file in tmp_path.iterdir()] == ["my_cluster.py"]
    with pytest.raises(UsageError, match="already exists"):
        interface_scaffold.add_engine("my_cluster", tmp_path)


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
    (["detector", "Toy"], "expected [mode|guard|seam|format|engine|framework] NAME"),
    (["guard"], "expected [mode|guard|seam|format|engine|framework] NAME"),
    (["guard", "LabelsSpread", "Another"], "expected [mode|guard|seam|format|engine|framework] NAME"),
    (["engine", "My-Cluster"], "invalid name 'My-Cluster': expected a module's name in lower case"),
    (["seam", "loss"], "invalid injection point 'loss': expected the name of a class"),
    (["seam", "GradientBucket"], "is not a package like faultlab"),
    (["guard", "LabelsSpread", "--seam", "Loss"], "--seam applies to failure modes only"),
    (["mode", "loss.nan"], "loss.nan already exists"),
])  # fmt: skip
def test_what_can_not_be_begun_is_told_and_ends_with_status_2(tmp_path: Path, words: list[str], said: str) -> None:
    shutil.copy(ROOT / "faultlab" / "injectors" / "loss.py", tmp_path)
    done = _faultlab("dev", "new", *words, "--into", tmp_path)
    assert done.status == 2
    assert said in done.err
    assert [file.name for file in tmp_path.iterdir()] == ["loss.py"]
