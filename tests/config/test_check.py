"""``faultlab check``: everything wrong in scenario files at once, and nothing of the user's imported."""

from __future__ import annotations

import datetime
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from faultlab.config.lint import check, looks_like_a_scenario
from faultlab.config.scenario import find
from tests import warm
from tests.cli.test_cli import HEAVY, ROOT, _faultlab

GOOD = "schema: 1\nname: {}\nmodule: {{class_path: pkg.model.Lit}}\n"
TODAY = datetime.date(2026, 6, 1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pkg").mkdir()
    # Would fail if it was imported.
    (tmp_path / "pkg/model.py").write_text("raise SystemExit\nif True:\n    class Lit: ...\nalias = other = Lit\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(project: Path, text: str, name: str = "scenario.yaml") -> Path:
    (project / name).write_text(text)
    return Path(name)


def said(*files: Path) -> list[str]:
    return [str(problem).partition("\n")[0] for problem in check(files, TODAY).problems]


def test_the_scenarios_of_this_project_are_in_order_and_no_torch_is_imported() -> None:
    done = _faultlab("check", ROOT / "scenarios")
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{len(find((ROOT / 'scenarios',)))} scenarios valid\n"
    assert not done.modules & HEAVY


def test_everything_wrong_in_all_files_is_said_at_once_with_its_place(project: Path) -> None:
    one = written(project, GOOD.format("one") + "tests: [gone.py, tests, also_gone]\ngate: {coverage: 2}\n", "one.yaml")
    two = written(project, GOOD.format("two").replace("Lit", "Lot") + "tests: [gone.py, also_gone]\n", "two.yaml")
    done = _faultlab("check", project / one, project / two)
    assert done.status == 2
    assert done.out == ""
    for wrong in (
        "one.yaml:5:8: gate.coverage: expected at most 1",
        "two.yaml:3:10: 'pkg.model' has no 'Lot'",
        "two.yaml:4:9: no such test file or folder: 'gone.py'",
        "two.yaml:4:18: no such test file or folder: 'also_gone'",
    ):
        assert f"{project}/{wrong}" in done.err


@pytest.mark.parametrize("name", ["Lit", "alias", "other"])
def test_a_class_that_its_file_binds_somehow_is_there(project: Path, name: str) -> None:
    assert said(written(project, GOOD.format("a").replace("Lit", name))) == []


@pytest.mark.parametrize("path", ["pkg.model.Lot", "torch.nn.Nonsense"])
def test_a_class_is_missed_only_where_its_file_shows_all_names(project: Path, path: str) -> None:
    found = said(written(project, GOOD.format("a").replace("pkg.model.Lit", path)))
    assert found == (["scenario.yaml:3:10: 'pkg.model' has no 'Lot'"] if path == "pkg.model.Lot" else [])


def test_a_star_import_may_bring_any_name(project: Path) -> None:
    (project / "pkg/model.py").write_text("from elsewhere import *\n")
    assert said(written(project, GOOD.format("a"))) == []


@pytest.mark.parametrize(
    ("expires", "problem", "warning"),
    [
        ("2026-05-31", "the exemption of loss.nan expired on 2026-05-31", ""),
        ("2026-06-01", "", "the exemption of loss.nan expires today"),
        ("2026-07-01", "", "the exemption of loss.nan expires in 30 days"),
        ("2026-07-02", "", ""),
    ],
)
def test_an_exemption_that_expires_soon_is_warned_of_and_an_expired_one_is_wrong(
    project: Path, expires: str, problem: str, warning: str
) -> None:
    exemption = f"faults:\n  ignore:\n    - {{mode: loss.nan, reason: on purpose, expires: {expires}}}\n"
    found = check([written(project, GOOD.format("a") + exemption)], TODAY)
    assert [one.message for one in found.problems] == [problem] * bool(problem)
    assert [one.message for one in found.warnings] == [warning] * bool(warning)
    assert {(one.line, one.column) for one in found.problems + found.warnings} <= {(6, 44)}


def test_two_scenarios_of_one_name_are_told(project: Path) -> None:
    files = [written(project, GOOD.format("same"), name) for name in ("a.yaml", "b.yaml")]
    assert said(*files) == ["b.yaml:2:1: duplicate name 'same': a.yaml has it too"]


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("schema: 1\n", True),
        ("name: a\nmodule: {class_path: a.B}\nguards: []\n", True),
        ("schema: 1\nname: [unclosed\n", True),
        ("name: ci\non: push\njobs: {}\n", False),
        ("a: 1\n---\nb: 2\n", False),
        ("{{ template }}: [\n", False),
        ("- id: hook\n", False),
        ("", False),
    ],
)
def test_a_yaml_file_of_others_is_told_from_a_scenario_that_is_broken(project: Path, text: str, own: bool) -> None:
    assert looks_like_a_scenario(written(project, text)) is own


def hook(*files: Path) -> subprocess.CompletedProcess[str]:
    """The hook as pre-commit runs it: its entry, with the files that are committed behind it."""
    (declared,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = shlex.split(declared["entry"])
    assert program == "faultlab"
    return warm.run(["-m", "faultlab", *arguments, *files], imports="command")


def test_the_hook_lets_good_scenarios_and_yaml_of_others_through(project: Path) -> None:
    done = hook(written(project, GOOD.format("a")), written(project, "on: push\n", "ci.yaml"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_hook_stops_a_bad_scenario_and_says_where(project: Path) -> None:
    done = hook(written(project, "on: push\n", "ci.yaml"), written(project, GOOD.format("a") + "guardz: []\n"))
    assert done.returncode == 2
    assert "scenario.yaml:4:1: unknown key 'guardz'" in done.stderr
    assert "Did you mean 'guards'?" in done.stderr
