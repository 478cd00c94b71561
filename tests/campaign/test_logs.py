"""The logs that a campaign keeps, and the .gitignore that it writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import faultlab
from faultlab.campaign.logs import KEPT, Logs, ignore_by_git
from faultlab.core.records import Records
from faultlab.core.report import Status
from faultlab.core.results import Outcome
from tests.support import result


def _logs(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "logs").iterdir())


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "trial")


@pytest.mark.parametrize("status", Status)
def test_the_log_of_a_fault_is_kept_if_its_verdict_is_worth_a_look(records: Records, status: Status) -> None:
    logs = Logs(records)
    logs.write(Outcome("loss.nan@once", output="something odd"))
    logs.keep_or_drop(result("loss.nan@once", status))
    assert bool(_logs(records.folder)) == (status in KEPT)
    logs.keep_or_drop(result("loss.nan@once", status))


def test_a_log_that_says_no_more_than_a_clean_run_is_dropped(records: Records) -> None:
    logs = Logs(records)
    for id in ("clean-0", "clean-1", "loss.nan@step=1"):
        logs.write(Outcome(id, output="the usual"))
    logs.write(Outcome("clean-2", output="a little else"))
    logs.learn_clean()
    assert _logs(records.folder) == ["clean-0.log", "clean-2.log", "loss.nan@step=1.log"]
    logs.keep_or_drop(result("loss.nan@step=1", Status.SILENT))
    assert _logs(records.folder) == ["clean-0.log", "clean-2.log"]


def test_git_ignores_a_folder_of_runs(tmp_path: Path) -> None:
    out = tmp_path / "reports"
    Records(out / "trial")
    ignore_by_git(out)
    (out / "trial" / "report.json").write_text("{}")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert status.stdout == ""


def test_git_ignores_a_folder_with_nothing_but_a_partial_run(tmp_path: Path) -> None:
    out = tmp_path / "reports"
    Records(out / "trial" / "selected")
    ignore_by_git(out)
    assert (out / ".gitignore").is_file()


def test_a_folder_with_files_of_the_user_gets_no_gitignore_and_an_existing_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    Records(tmp_path / "trial")
    ignore_by_git(tmp_path)
    assert not (tmp_path / ".gitignore").exists()
    out = tmp_path / "reports"
    out.mkdir()
    (out / ".gitignore").write_text("mine\n")
    ignore_by_git(out)
    assert (out / ".gitignore").read_text() == "mine\n"


@pytest.mark.usefixtures("from_the_root")
def test_a_campaign_leaves_few_logs_and_a_gitignore(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "schema: 1\nname: trial\nbuild: {class_path: tests.zoo.models.classifier}\ntrainer: {max_epochs: 2}\n"
    )
    select = ["step.raises@step=2", "loss.nan@step=5", "return.float@step=1"]
    report = faultlab.run(scenario, out=tmp_path / "reports", select=select)
    assert {fault.status for fault in report.faults} >= {Status.DETECTED}
    detected = [fault.id for fault in report.faults if fault.status is Status.DETECTED]
    logs = _logs(tmp_path / "reports" / "trial" / "selected")
    assert not [log for log in logs if log.removesuffix(".log") in detected]
    assert not [log for log in logs if log.startswith(("canary", "null"))]
    assert (tmp_path / "reports" / ".gitignore").read_text().endswith("\n*\n")
