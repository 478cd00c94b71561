"""``faultlab doctor`` as a user meets it: the environment, what is printed, and the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from faultlab.cli import group
from faultlab.doctor.environment import ENVIRONMENT
from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK, WRONG
from faultlab.errors import UsageError
from tests import warm

ROOT = Path(__file__).parents[2]


def _doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "faultlab", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=120)


def test_the_environment_is_checked_without_torch_and_everything_is_named() -> None:
    done = _doctor("--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    names = {one["check"] for one in told["findings"]}
    assert {"python", "packages", "fork", "cores", "temporary folder", "pytest plugin", "GPU"} <= names
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "faultlab.doctor.environment" in imported
    assert not imported & {"torch", "pytorch_lightning", "numpy"}


def test_an_unfit_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from faultlab.doctor import environment

    versions = {"torch": "1.13.1", "pytorch-lightning": "2.6.6", "lightning": "2.5.0", "pytest": "9.2.0", "mutmut": ""}
    monkeypatch.setattr(environment, "_version", lambda name: versions[name])
    monkeypatch.setattr(environment, "_free_memory", lambda: 0.5)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    found = {(one.verdict, one.what): one for one in ENVIRONMENT.run({})}
    told = " ".join(what for verdict, what in found if verdict != OK)
    for said in ("torch 1.13.1 is too old", "mutmut is not installed", "in different versions", "0.5 GB of memory",
                 "does not load plugins automatically"):  # fmt: skip
        assert said in told
    assert all(one.remedy for one in found.values() if one.verdict != OK)


def test_quiet_prints_only_what_needs_attention_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from faultlab.doctor import environment

    monkeypatch.setattr(environment, "_free_memory", lambda: 0.5)
    versions = {"torch": "1.13.1", "pytorch-lightning": "2.5.0", "lightning": "", "pytest": "8.3.0", "mutmut": "3.8.0"}
    monkeypatch.setattr(environment, "_version", lambda name: versions[name])
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    loud, quiet = (CliRunner().invoke(group, ["doctor", *flags], standalone_mode=False) for flags in ([], ["-q"]))
    assert loud.return_value == quiet.return_value == 1
    assert "ok        python: Python" in loud.stdout
    assert quiet.stdout.splitlines() == [
        "wrong     packages: torch 1.13.1 is too old",
        "          -> Run `python -m pip install 'torch>=2.4'`.",
        "attention memory: only 0.5 GB of memory are free",
        "          -> Use --jobs 1.",
    ]


def test_wrong_targets_and_broken_scenarios_end_with_their_own_status(tmp_path: Path) -> None:
    def doctor(target: str) -> subprocess.CompletedProcess[str]:
        return warm.run(["-m", "faultlab", "doctor", target], cwd=ROOT)

    assert doctor("nowhere.yaml").returncode == 2
    assert doctor("LitModel").returncode == 2
    file = tmp_path / "broken.yaml"
    file.write_text("schema: 1\nname: broken\nmodule: {class_path: tests.broken.nowhere.Model}\n")
    done = doctor(str(file))
    assert done.returncode == 1
    assert f"no module named 'tests.broken.nowhere' ({file}:3:10)" in done.stdout
    assert "-> Run from the folder that holds the package, or install it." in done.stdout
    file.write_text("schema: 1\nname: broken\nmodul: {}\n")
    done = doctor(str(file))
    assert done.returncode == 1
    assert "unknown key 'modul'" in done.stdout


def test_what_is_no_target_is_said_and_a_class_may_be_named_as_init_takes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such script"):
        list(examine(str(tmp_path / "train.py"), 10))
    with pytest.raises(
        UsageError, match="expected a scenario file, a training script, a LightningCLI config or a class path"
    ):
        list(examine("train: Lit", 10))
    (found, *_) = examine("nowhere_at_all:Lit", 10)
    assert (found.check, found.verdict) == ("import", WRONG)
    assert "nowhere_at_all" in found.what + found.evidence
