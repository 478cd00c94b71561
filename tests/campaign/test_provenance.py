"""Where a report comes from: its date, the commit of the user's repository, the lines of the user's source."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from faultlab.campaign import provenance


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text("class Net:\n    def forward(self, x):\n        return x\n")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", "model.py")
    _git(tmp_path, "commit", "--quiet", "--message", "begin")
    return tmp_path


def test_the_commit_is_the_one_that_is_checked_out(project: Path) -> None:
    assert provenance.commit_of(project) == {"id": _git(project, "rev-parse", "HEAD"), "changed": False}


def test_an_edit_of_a_tracked_file_is_recorded_and_a_new_file_is_not(project: Path) -> None:
    (project / "notes.txt").write_text("new")
    assert provenance.commit_of(project)["changed"] is False
    (project / "model.py").write_text("pass\n")
    assert provenance.commit_of(project)["changed"] is True


def test_a_folder_outside_any_repository_and_a_repository_without_commits_have_no_commit(tmp_path: Path) -> None:
    assert provenance.commit_of(tmp_path) == {}
    _git(tmp_path, "init", "--quiet")
    assert provenance.commit_of(tmp_path) == {}


def test_a_machine_without_git_has_no_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.commit_of(project) == {}


def test_the_source_lines_are_those_of_the_methods(project: Path) -> None:
    target = {"file": "model.py", "methods": {"forward": 2, "gone": 9}}
    assert provenance.code_of(target, project) == {"forward": "def forward(self, x):"}
    assert provenance.code_of({"file": "missing.py", "methods": {"forward": 2}}, project) == {}
    assert provenance.code_of({}, project) == {}


def test_the_date_is_now_in_utc() -> None:
    passed = datetime.now(timezone.utc) - datetime.fromisoformat(provenance.now())
    assert timedelta(0) <= passed < timedelta(minutes=1)
