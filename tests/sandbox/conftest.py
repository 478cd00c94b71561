"""A user's folder, and an overlay on it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from faultlab.core.patching import Patches
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from tests.sandbox import file_access


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> file_access.Home:
    """A project with files in it, which is the working folder."""
    project = tmp_path / "project"
    (project / "runs" / "first").mkdir(parents=True)
    (project / "best.ckpt").write_text("the user's best")
    (project / "runs" / "first" / "log.txt").write_text("epoch 0\n")
    (project / "latest.ckpt").symlink_to("best.ckpt")
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def overlay(home: file_access.Home, tmp_path: pathlib.Path) -> Iterator[Overlay]:
    upper = tmp_path / "run"
    upper.mkdir()
    overlay = Overlay(lambda: str(upper), [str(home)])
    with Patches() as patches:
        file_calls.take_over(patches, overlay)
        yield overlay
