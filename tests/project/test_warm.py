"""A copy of a warm process behaves as a fresh interpreter does, but for what it has imported already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import warm

SEEN = (
    "import json, os, sys; print(json.dumps([sys.argv, os.getcwd(), os.environ['X'], sys.path[:2], sys.stdin.read()]))"
)


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("raise ValueError('wrong')", 1, "ValueError: wrong\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import atexit, sys; atexit.register(print, 'last', file=sys.stderr)", 0, "last\n"),
    ],
)
def test_it_ends_with_its_own_status_and_words(program: str, status: int, said: str) -> None:
    done = warm.run(["-c", program], imports="command")
    assert done.returncode == status
    assert done.stderr.endswith(said)


def test_it_is_where_it_was_told_to_be_and_is_told_what_it_was(tmp_path: Path) -> None:
    env = {**os.environ, "X": "here", "PYTHONPATH": str(tmp_path / "code")}
    done = warm.run(["-c", SEEN, "one"], imports="command", cwd=tmp_path, env=env, input="typed")
    where = str(tmp_path)
    assert json.loads(done.stdout) == [["-c", "one"], where, "here", [where, str(tmp_path / "code")], "typed"]


def test_it_has_imported_what_trains_and_neither_guards_nor_what_runs_commands() -> None:
    done = warm.run(["-c", "import sys; print(*sys.modules)"])
    imported = set(done.stdout.split())
    assert {"torch", "faultlab.injectors.loss", "faultlab.frameworks.loops.seams.steps"} <= imported
    # Its guards belong to whichever Lightning was imported when they are.
    assert imported.isdisjoint({"faultlab.guards", "faultlab.cli", "faultlab.pytest_plugin"})


def test_another_faultlab_that_comes_first_is_the_one_that_is_imported(tmp_path: Path) -> None:
    other = tmp_path / "faultlab"
    other.mkdir()
    (other / "__init__.py").write_text("name = 'another'\n")
    program = "import faultlab, sys; print(faultlab.name, 'faultlab.core' in sys.modules)"
    done = warm.run(["-c", program], cwd=tmp_path)
    assert done.stdout == "another False\n", done.stderr


def test_one_that_takes_too_long_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(["-c", "import time; time.sleep(600)"], imports="command", timeout=0.5)
    assert time.monotonic() - begun < 300
