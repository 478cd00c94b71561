"""The gate on real runs: whatever is taken from a project's safety net, it says what was lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import warm
from tests.campaign.test_tested_scenario import MODULE, TESTS

ROOT = Path(__file__).parents[2]
GUARD = "guards: [{class_path: lines.Finite}]\n"
SCENARIO = f"""schema: 1
name: lines
module: {{class_path: lines.Line}}
data: {{class_path: lines.data}}
trainer: {{max_epochs: 2}}
{GUARD}tests: [test_lines.py]
faults:
  select: [loss.nan, gradient.negated, loss.offset]
"""
GREEN = TESTS.partition("def test_that_is_red")[0] + "def test_it_trains(trained):\n    assert trained is not None\n"
MORE = pytest.mark.nightly(reason="one more real run; test_ratchet.py has what the gate makes of such reports")
LEARNS = "test:test_lines.py::test_it_learns"


def _faultlab(project: Path, *arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    done = warm.run(["-m", "faultlab", *arguments], cwd=project, env=environment)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose report was accepted as it is."""
    folder = tmp_path_factory.mktemp("accepted")
    files = {"lines.py": MODULE, "test_lines.py": GREEN, "lines.yaml": SCENARIO, "setup.py": ""}
    for name, text in files.items():
        (folder / name).write_text(text)
    status, said = _faultlab(folder, "run", "lines.yaml", "--no-advice")
    assert status == 0, said
    asked = ("gate", "--baseline", "accepted.json")
    status, said = _faultlab(folder, *asked, "--accept", "--reason", "an offset is harmless", "--expires", "2999-01-01")
    assert status == 0, said
    return folder


@pytest.fixture
def project(accepted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(accepted, tmp_path / "project")


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _run_and_gate(project: Path) -> tuple[int, str]:
    status, said = _faultlab(project, "run", "lines.yaml", "--no-advice")
    assert status in (0, 4), said
    return _faultlab(project, "gate", "--baseline", "accepted.json")


def test_what_was_accepted_is_what_detects_and_what_nobody_does(accepted: Path) -> None:
    standard = json.loads((accepted / "accepted.json").read_text())["scenarios"]["lines"]
    assert standard["detected"] == {"gradient.negated": [LEARNS], "loss.nan": ["guard:Finite", LEARNS]}
    assert standard["accepted"]["loss.offset"]["reason"] == "an offset is harmless"
    assert _faultlab(accepted, "gate", "--baseline", "accepted.json")[0] == 0


@MORE
def test_a_guard_that_was_removed_is_missed_though_a_test_detects_too(project: Path) -> None:
    _replace(project / "lines.yaml", GUARD, "")
    status, said = _run_and_gate(project)
    assert status == 1
    assert f"guard:Finite no longer detects loss.nan (now {LEARNS})" in said


@MORE
def test_a_guard_that_was_made_to_pass_always_is_missed(project: Path) -> None:
    _replace(project / "lines.py", 'if not torch.isfinite(outputs["loss"]):', "if False:")
    status, said = _run_and_gate(project)
    assert status == 1
    assert "guard:Finite no longer detects loss.nan" in said


@MORE
def test_a_test_that_was_deleted_is_missed_by_the_run_itself(project: Path) -> None:
    before, _, rest = GREEN.partition("def test_it_learns")
    (project / "test_lines.py").write_text(before + rest[rest.index("def test_nothing_much") :])
    status, said = _faultlab(project, "run", "lines.yaml", "--no-advice", "--baseline", "accepted.json")
    assert status == 1, said
    assert f"baseline: gradient.negated is newly silent: {LEARNS} detected it" in said
    assert f"{LEARNS} no longer detects loss.nan (now guard:Finite)" in said
    assert json.loads((project / "reports" / "lines" / "report.json").read_text())["gate"]["passed"] is False


@MORE
def test_a_scenario_that_was_emptied_is_inconclusive_and_misses_everything(project: Path) -> None:
    _replace(project / "lines.yaml", "[loss.nan, gradient.negated, loss.offset]", "[layer.batchnorm-frozen]")
    status, said = _run_and_gate(project)
    assert status == 4
    assert "no fault was activated" in said
    for mode in ("loss.nan", "gradient.negated", "loss.offset"):
        assert f"{mode} is no longer injected" in said


@MORE
def test_a_failure_mode_that_is_ignored_instead_is_missed(project: Path) -> None:
    ignore = "  ignore: [{mode: gradient.negated, reason: flaky, expires: 2999-01-01}]\n"
    (project / "lines.yaml").write_text(SCENARIO + ignore)
    status, said = _run_and_gate(project)
    assert status == 1
    assert "gradient.negated is no longer injected: it is ignored" in said


def test_an_exemption_that_expired_is_said(project: Path) -> None:
    _replace(project / "accepted.json", "2999-01-01", "2020-01-01")
    status, said = _faultlab(project, "gate", "--baseline", "accepted.json")
    assert status == 1
    assert "accepting loss.offset as silent (an offset is harmless) expired on 2020-01-01" in said


def test_a_report_edited_to_look_green_is_refused(project: Path) -> None:
    report = project / "reports" / "lines" / "report.json"
    _replace(report, '"status": "silent"', '"status": "no_effect"')
    status, said = _faultlab(project, "gate", "--baseline", "accepted.json")
    assert status == 4
    assert "its digest does not match" in said


def test_the_baseline_is_about_whole_scenarios(project: Path) -> None:
    for narrowing in (("--select", "loss.nan"), ("--ignore", "loss.nan"), ("--shard", "1/2")):
        status, said = _faultlab(project, "run", "lines.yaml", "--baseline", "accepted.json", *narrowing)
        assert status == 2
        assert "--baseline needs complete runs" in said


@MORE
def test_shares_of_a_real_run_are_joined_to_what_one_run_finds(project: Path) -> None:
    for number in (1, 2):
        status, said = _faultlab(
            project, "run", "lines.yaml", "--no-advice", "--shard", f"{number}/2", "--out", f"shard-{number}"
        )
        assert status == 0, said
    status, said = _faultlab(project, "merge", "shard-1", "shard-2", "--out", "merged")
    assert status == 0, said
    assert _faultlab(project, "diff", "reports", "merged", "--exit-code") == (0, "lines: no difference\n")
    assert _faultlab(project, "gate", "merged", "--baseline", "accepted.json")[0] == 0
    one, both = (json.loads((project / out / "lines" / "tests.json").read_text()) for out in ("reports", "merged"))
    kills = [{entry["test"]: entry["kills"] for entry in found["tests"]} for found in (one, both)]
    assert kills[0] == kills[1]
    assert one["killed_once"] == both["killed_once"]
