"""Heartbeat: the progress of a training, for a process that watches it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.guards import Heartbeat
from faultlab.guards.heartbeat import VARIABLE
from tests.guards.rig import Healthy, alarm_of, fit


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "heartbeat"))
    return tmp_path / "heartbeat"


def told(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def test_it_reports_that_training_has_finished(file: Path) -> None:
    fit(Heartbeat())
    assert told(file) == {"state": "finished", "step": 16, "epoch": 2, "error": ""}
    assert list(file.parent.iterdir()) == [file]


def test_it_reports_the_step_while_training_runs(file: Path) -> None:
    seen = []

    class Reads(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append((told(file)["state"], told(file)["step"]))
            return super().training_step(batch, batch_idx)

    fit(Heartbeat(interval=0), Reads(), max_epochs=1)
    assert seen == [("begun", step) for step in range(8)]


def test_it_writes_no_more_often_than_it_should(file: Path) -> None:
    seen = []

    class Reads(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(file.stat().st_mtime_ns)
            return super().training_step(batch, batch_idx)

    fit(Heartbeat(interval=60), Reads())
    assert len(set(seen)) == 1


def test_it_reports_what_ended_a_training(file: Path) -> None:
    class Exits(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise SystemExit(0)

    with pytest.raises(SystemExit):
        fit(Heartbeat(), Exits())
    assert (told(file)["state"], told(file)["error"]) == ("failed", "SystemExit")


def test_a_full_disk_is_detected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("faultlab.guards.heartbeat.os.replace", full)
    alarm = alarm_of(Heartbeat())
    assert alarm is not None
    assert "no space is left on the disk" in alarm.found


def test_a_deleted_folder_raises_no_alarm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone" / "heartbeat"))
    assert alarm_of(Heartbeat()) is None


def test_without_a_watching_process_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert alarm_of(Heartbeat()) is None
