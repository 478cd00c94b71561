"""Completion as a shell asks for it: the script is sourced in a real bash, and click's own environment is spoken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm

ROOT = Path(__file__).parents[2]
_MAIN = "import sys; sys.argv[0] = 'faultlab'; from faultlab.cli import main; main()"


def _asked(words: str, cword: int, *, shell: str = "bash", cwd: Path = ROOT) -> tuple[list[str], set[str]]:
    """The values that a shell is given, and the packages that were imported on the way."""
    env = {**os.environ, "_FAULTLAB_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(cword)}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", _MAIN], cwd=cwd, env={**env, "PYTHONPATH": path},
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    values = (
        [line.partition(",")[2] for line in done.stdout.splitlines()] if shell == "bash" else done.stdout.split("\n")
    )
    return values, imported


@pytest.mark.parametrize(
    ("words", "cword", "expected"),
    [
        ("faultlab ex", 1, ["explain"]),
        ("faultlab explain return.no", 2, ["return.none"]),
        ("faultlab replay loss.na", 2, ["loss.nan"]),
        ("faultlab sweep label.noi", 2, ["label.noisy"]),
        ("faultlab run --select return.non", 3, ["return.none"]),
        ("faultlab run --select return.none --fail-u", 4, ["--fail-under"]),
        ("faultlab run scenarios/digits/gu", 2, ["scenarios/digits/guarded.yaml"]),
        ("faultlab replay loss.nan --scenario scenarios/gan/sc", 4, ["scenarios/gan/scenario.yaml"]),
        ("faultlab doctor scenarios/dig", 2, ["scenarios/digits/"]),
        ("faultlab completion z", 2, ["zsh"]),
    ],
)
def test_a_shell_is_given_what_begins_so_and_torch_is_not_imported(words: str, cword: int, expected: list[str]) -> None:
    values, imported = _asked(words, cword)
    assert values == expected
    assert not imported & {"torch", "pytorch_lightning", "lightning", "numpy"}


def test_every_command_is_offered_and_none_imported() -> None:
    values, imported = _asked("faultlab ", 1)
    assert {"run", "replay", "doctor", "explain", "completion"} <= set(values)
    assert "rich" not in imported


def _script(shell: str) -> str:
    done = warm.run(["-m", "faultlab", "completion", shell], imports="command", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    program = tmp_path / "faultlab"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m faultlab "$@"\n')
    program.chmod(0o755)
    asks = (
        'COMP_WORDS=(faultlab explain return.no); COMP_CWORD=2; _faultlab_completion faultlab; echo "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}",
           "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    done = subprocess.run(["bash", "-c", f"{_script('bash')}\n{asks}\ncomplete -p faultlab"], cwd=ROOT, env=env,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert "return.none" in done.stdout, done.stderr
    assert "_faultlab_completion faultlab" in done.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_for_other_shells_are_sound(shell: str) -> None:
    script = _script(shell)
    assert "_FAULTLAB_COMPLETE" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_an_unknown_shell_is_told_which_are_known() -> None:
    done = warm.run(["-m", "faultlab", "completion", "ksh"], imports="command", cwd=ROOT)
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr
