"""What a scenario rests on, and whether it has changed since a commit."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from faultlab.config.scenario import Scenario, load
from faultlab.errors import UsageError
from faultlab.gate import affected
from faultlab.gate.baseline_file import Accepted, Standard, written
from tests.support import call

SCENARIO = """
schema: 1
name: trial
module: {class_path: pkg.model.Lit, init_args: {head: {class_path: pkg.heads.Head}, table: tables/sizes.csv}}
data: {class_path: pkg.data.loaders}
guards: [{class_path: guards.Moves}]
tests: [tests]
"""
FILES = {
    "pyproject.toml": "",
    "scenario.yaml": SCENARIO,
    "pkg/__init__.py": "",
    "pkg/model.py": "import torch\nfrom .layers import block\nfrom . import losses\n",
    "pkg/layers.py": "from pkg.deep.down import x\n",
    "pkg/losses.py": "",
    "pkg/heads.py": "",
    "pkg/data.py": "",
    "pkg/data.csv": "1",
    "pkg/README.md": "",
    "pkg/unused.py": "",
    "pkg/deep/__init__.py": "",
    "pkg/deep/down.py": "x = 1\n",
    "guards.py": "",
    "tables/sizes.csv": "1",
    "tables/other.csv": "1",
    "tests/conftest.py": "",
    "tests/test_it.py": "import helpers\n",
    "tests/helpers.py": "",
    "elsewhere/requirements.txt": "",
    "other.py": "",
    "notes.txt": "",
}


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def _project(folder: Path, more: Mapping[str, str] = {}) -> Path:
    for name, text in {**FILES, **more}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "all")
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return _project(tmp_path.resolve())


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    affected._changed.cache_clear()


def _scenario(project: Path) -> Scenario:
    return load(project / "scenario.yaml")


@pytest.mark.parametrize(
    "name",
    ["scenario.yaml", "pyproject.toml", "pkg/__init__.py", "pkg/model.py", "pkg/layers.py", "pkg/losses.py",
     "pkg/heads.py", "pkg/data.py", "pkg/data.csv", "pkg/deep/down.py", "pkg/deep/__init__.py", "guards.py",
     "tables/sizes.csv", "tests/conftest.py", "tests/test_it.py", "tests/helpers.py"],
)  # fmt: skip
def test_what_it_rests_on_touches_it_changed_or_deleted(project: Path, name: str) -> None:
    scenario = _scenario(project)
    (project / name).write_text(f"{FILES[name]}\n# changed\n")
    assert affected.since("HEAD", scenario) == name
    affected._changed.cache_clear()
    (project / name).unlink()
    assert affected.since("HEAD", scenario) == name


@pytest.mark.parametrize(
    "name", ["pkg/unused.py", "pkg/README.md", "tables/other.csv", "other.py", "elsewhere/requirements.txt"]
)
def test_what_it_does_not_rest_on_does_not(project: Path, name: str) -> None:
    (project / name).write_text("# changed\n")
    assert affected.since("HEAD", _scenario(project)) == ""


def test_files_that_git_does_not_know_yet_count(project: Path) -> None:
    (project / "tests" / "test_more.py").write_text("")
    assert affected.since("HEAD", _scenario(project)) == "tests/test_more.py"


def test_what_was_committed_since_counts(project: Path) -> None:
    (project / "guards.py").write_text("# changed\n")
    _git(project, "commit", "-q", "-a", "-m", "more")
    assert affected.since("HEAD", _scenario(project)) == ""
    assert affected.since("HEAD~1", _scenario(project)) == "guards.py"


def test_code_that_imports_by_a_made_up_name_rests_on_all_code(project: Path) -> None:
    (project / "guards.py").write_text("import importlib\nimportlib.import_module('ot' + 'her')\n")
    _git(project, "commit", "-q", "-a", "-m", "more")
    (project / "other.py").write_text("# changed\n")
    assert affected.since("HEAD", _scenario(project)) == "other.py"


def test_what_git_can_not_say_is_a_mistake_in_the_call(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UsageError, match="unknown commit"):
        affected.since("nowhere", _scenario(project))
    bare = tmp_path_factory.mktemp("bare")
    for name, text in FILES.items():
        (bare / name).parent.mkdir(parents=True, exist_ok=True)
        (bare / name).write_text(text)
    with pytest.raises(UsageError, match="not in a git repository"):
        affected.since("HEAD", _scenario(bare))


def test_where_nothing_was_touched_nothing_is_run_and_that_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "other.py").write_text("# changed\n")
    done = call(capsys, monkeypatch, "run", "scenario.yaml", "--since", "HEAD")
    assert (done.status, done.err) == (0, "")
    assert done.out == ("trial: skipped, unchanged since HEAD\nno scenario to run: nothing changed since HEAD\n")
    done = call(capsys, monkeypatch, "run", "scenario.yaml", "--since", "HEAD", "--json")
    assert (done.status, done.out) == (0, "[]\n")


def test_a_scenario_that_was_deleted_is_missed_though_nothing_else_was_touched(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = Standard(detected={"loss.nan": ["guard:Moves"]})
    (project / "reports").mkdir()
    file = project / "reports" / "accepted.json"
    file.write_text(written(Accepted(schema=1, scenarios={"trial": standard, "deleted": standard})))
    asked = ("--since", "HEAD", "--baseline", "reports/accepted.json")
    done = call(capsys, monkeypatch, "run", ".", *asked)
    assert done.status == 1
    assert "there is no report of the scenario 'deleted'" in done.err
    assert call(capsys, monkeypatch, "run", "scenario.yaml", *asked).status == 0, "one is not all"
