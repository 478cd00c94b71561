"""`faultlab report`: pages and files made anew of what a run left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Called, call, detection, report, result, run_folder

DETECTED = result("loss.nan@always", "detected", detected_by=[detection()])
Command = Callable[..., Called]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(capsys, monkeypatch, "report", *arguments)


def test_pages_are_written_of_a_run_and_of_all_of_them(command: Command, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "reports", report(DETECTED))
    assert command().out.split() == ["reports/made-up/index.html"]
    (folder / "junit.xml").unlink()
    assert command("reports/made-up").status == 0
    assert (folder / "junit.xml").is_file()


def test_the_folder_one_is_in_has_a_name_too(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(tmp_path / "reports", report(DETECTED))
    monkeypatch.chdir(folder)
    done = command(".")
    assert (done.status, done.err) == (0, "")
    assert (folder / "index.html").is_file()
    assert (tmp_path / "reports" / "index.html").is_file()
    monkeypatch.chdir(tmp_path / "reports")
    assert command(".").status == 0


def test_a_report_that_was_edited_gets_no_page(command: Command, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "reports", report(DETECTED))
    data = json.loads((folder / "report.json").read_text())
    data["gate"]["passed"] = False
    (folder / "report.json").write_text(json.dumps(data))
    done = command()
    assert done.status == 4
    assert "Run the scenario again" in done.err
    assert not (folder / "index.html").exists()


def test_where_there_is_no_report_none_is_made_up(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = command("empty")
    assert done.status == 4
    assert "no report in this folder" in done.err
    folder = run_folder(tmp_path, report(DETECTED))
    folder.rename(tmp_path / "other")
    done = command("other")
    assert done.status == 2
    assert "Rename the folder to" in done.err
