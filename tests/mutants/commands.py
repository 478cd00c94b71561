"""``faultlab mutate`` in a process, on a small project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.generated_mutants import project

ROOT = Path(__file__).parents[2]
MORE = pytest.mark.nightly(reason="one more project, or the same again; the quick ring has the command on one")
MODEL = """\
def clipped(x, low=0, high=10):
    if x < low:
        return low
    return min(x, high)


def greeting(name):
    return "hello " + name  # faultlab: ignore[only shown]


def unused(x):
    return x + 1
"""
TESTS = """\
import time

from model import clipped, greeting

def test_a_low_number_is_raised():
    assert clipped(-5) == 0

def test_a_number_within_stays():
    time.sleep({seconds})
    assert clipped(3) == 3

def test_greeting():
    greeting("you")
"""


@dataclass(frozen=True)
class Done:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report of the one JSON document that it printed."""
        (read,) = json.loads(self.out)
        assert isinstance(read, dict)
        return read

    @property
    def verdicts(self) -> dict[str, str]:
        return {fault["id"]: fault["status"] for fault in self.report["faults"]}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "faultlab", "mutate", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def mutate(root: Path, *arguments: str) -> Done:
    done = warm.run(["-m", "faultlab", "mutate", *arguments], imports="command", cwd=root, env=environment())
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def written(root: Path, seconds: float = 0.0) -> Path:
    files = {"pyproject.toml": "", "model.py": MODEL, "test_model.py": TESTS.format(seconds=seconds)}
    project(root, files)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=first")
    return root
