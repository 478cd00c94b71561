"""`faultlab demo`: three failures as they become, and the guard that was missing."""

from __future__ import annotations

import time
from pathlib import Path

from click.testing import CliRunner

from faultlab.cli import group
from faultlab.results import Report, Status


def test_one_failure_is_noticed_one_warned_of_one_silent_until_a_guard_is_added(tmp_path: Path) -> None:
    begun = time.monotonic()
    ended = CliRunner().invoke(group, ["demo", "--out", str(tmp_path)], standalone_mode=False)
    seconds = time.monotonic() - begun
    assert ended.exception is None, ended.output
    report = Report.read(tmp_path / "demo" / "report.json")
    modes = report.by_mode()
    assert modes["loss.nan"] is Status.NOTICED
    assert modes["return.none"] is Status.WARNED
    assert modes["optimizer.last-layer-missing"] is Status.SILENT
    after = Report.read(tmp_path / "demo-guarded" / "report.json").by_mode()
    assert after["optimizer.last-layer-missing"] is Status.NOTICED
    assert not report.baseline.false_alarms
    assert report.baseline.metrics["val_accuracy"] > 0.9, "it learns something real"
    assert str(tmp_path / "demo" / "index.html") in ended.output
    assert "noticed by OptimizerCoverage" in ended.output
    assert seconds < 120, "a quarter of that where nothing else runs"
