"""The folder of an engine goes with its process, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from faultlab.engines.folder import Folder

HOLD = """
import sys
from faultlab.engines.folder import Folder

held = Folder(sys.argv[1])
print(held.name, flush=True)
sys.stdin.read()
"""


def _holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_process_is_removed_by_the_next_engine_and_that_of_a_running_one_is_kept(
    tmp_path: Path,
) -> None:
    killed, abandoned = _holder(tmp_path)
    running, held = _holder(tmp_path)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert abandoned.is_dir()
    own = Folder(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {held.name, Path(own.name).name}
    running.communicate()
    own.remove()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_not_an_engines_are_kept(tmp_path: Path) -> None:
    other = tmp_path / "faultlab-notes"
    other.mkdir()
    Folder(str(tmp_path)).remove()
    assert list(tmp_path.iterdir()) == [other]
