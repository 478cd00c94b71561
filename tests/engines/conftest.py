"""A project whose commands keep a process warm."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.engines.bench import ROOT, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="k") as runtime:
        project, packages = tmp_path / "project", tmp_path / "site-packages"
        project.mkdir()
        # As pip leaves it: a folder for compiled code that is made later would be a change of what is installed.
        (packages / "__pycache__").mkdir(parents=True)
        (packages / "installed.py").write_text("")
        monkeypatch.setenv("FAULTLAB_WARM", "1")
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), str(ROOT)]))
        monkeypatch.delenv("PYTEST_CURRENT_TEST")
        monkeypatch.chdir(project)
        # What a process is handed by whoever starts it is what these tests are about.
        monkeypatch.setattr(subprocess, "Popen", warm.FRESH)
        made = Bench(project, packages, Path(runtime))
        made.write()
        yield made
        for process in made.keepers():
            process.kill()
