"""Wrong usage of ``faultlab mutate``, and suites that it can't judge by: the error states the remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.generated_mutants import project
from tests.mutants import commands

GUARDED = "schema: 1\nname: {}\nmodule: {{class_path: model.Model}}\n"
WRONG: list[tuple[list[str], str]] = [
    ([], "scenarios: no such file or folder"),
    (["nowhere.py"], "nowhere.py: no such file or folder"),
    (["nowhere.yaml"], "nowhere.yaml"),
    (["model.py", "--shard=3/2"], "invalid shard '3/2': expected k/n, the k-th of n, such as 2/4"),
    (["model.py", "--since=nowhere"], "--since nowhere: unknown commit; name a commit"),
    (["model.py", "--tests=nowhere.py"], "--tests nowhere.py: no such file or folder"),
    (["model.py", "--also-copy=nowhere"], "nowhere: no such file or folder to copy"),
    (["model.py", "--function=nothing"], "no matching function in model.py"),
    (["model.py", "--jobs=0"], "--jobs"),
    (["model.py", "--fail-under=2"], "--fail-under"),
    (["notes.txt"], "notes.txt: no such Python file or folder"),
    (["empty"], "empty: no Python file in this folder to mutate"),
    (["constants.py"], "mutmut finds nothing to change in constants.py"),
    (["broken.py"], "broken.py:1:7: invalid Python: invalid syntax"),
    (["exempted.py"], "an exemption without a reason"),
    (["one.yaml", "two.yaml", "model.py"], "files to mutate can be combined with one scenario only"),
    (["../outside.py", "model.py"], "is outside of the project"),
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = commands.written(tmp_path_factory.mktemp("wrong") / "project")
    files = {"notes.txt": "", "empty/notes.txt": "", "constants.py": "X = 1\n", "broken.py": "def f(:\n"}
    files |= {"one.yaml": GUARDED.format("one"), "two.yaml": GUARDED.format("two"), "../outside.py": commands.MODEL}
    return project(root, {**files, "exempted.py": "def f():\n    return 1  # faultlab: ignore\n"})


CALLED = """
import contextlib, io, json, sys
from faultlab.cli import main

told = []
for arguments in json.load(sys.stdin):
    sys.argv, status, said = ["faultlab", "mutate", *arguments], 0, io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    told.append([status, said.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def answers(wrong: Path) -> list[tuple[int, str]]:
    """What wrong commands say, called one after the other in one process."""
    asked = json.dumps([arguments for arguments, _ in WRONG])
    done = warm.run(["-c", CALLED], imports="command", cwd=wrong, env=commands.environment(), input=asked)
    assert done.returncode == 0, done.stderr
    return [(status, said) for status, said in json.loads(done.stdout)]


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_usage_ends_with_status_2_and_what_to_write_instead(number: int, answers: list[tuple[int, str]]) -> None:
    status, said = answers[number]
    assert status == 2
    assert "Traceback" not in said
    assert WRONG[number][1] in " ".join(said.split())


def test_windows_is_told_that_source_mutants_need_posix(wrong: Path) -> None:
    program = "import os, sys; del os.fork; sys.argv = ['faultlab', 'mutate', 'model.py']\n"
    program += "from faultlab.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=wrong,
        env=commands.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "need POSIX" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_tests_that_fail_on_the_clean_code_end_with_status_3(tmp_path: Path) -> None:
    root = commands.written(tmp_path / "project")
    project(root, {"test_model.py": "from model import clipped\n\ndef test_no():\n    assert clipped(3) == 4\n"})
    done = commands.mutate(root, "model.py")
    assert done.status == 3
    assert "no test passes on the clean code" in done.out + done.err
    assert "assert 3 == 4" in done.out + done.err
