"""`faultlab demo`: three failures as they become, and the guard that was missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from faultlab.cli import group
from faultlab.cli.demo import walkthrough
from faultlab.core.report import Report, Status
from tests.support import detection, result

WHOLE = pytest.mark.nightly(reason="all failure modes of the demo; the quick ring has those that it tells of")


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=WHOLE)], ids=["told of", "whole"])
def test_one_failure_is_detected_one_warned_of_one_silent_until_a_guard_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if not whole:
        shorter = yaml.safe_load(walkthrough.SCENARIO.read_text())
        shorter["faults"]["select"] = list(walkthrough.TOLD)
        (tmp_path / "shorter.yaml").write_text(yaml.safe_dump(shorter))
        monkeypatch.setattr(walkthrough, "SCENARIO", tmp_path / "shorter.yaml")
    ended = CliRunner().invoke(group, ["demo", "--out", str(tmp_path)], standalone_mode=False)
    assert ended.exception is None, ended.output
    report = Report.read(tmp_path / "demo" / "report.json")
    modes = report.by_mode()
    assert modes["loss.nan"] is Status.DETECTED
    assert modes["return.none"] is Status.WARNED
    assert modes["optimizer.last-layer-missing"] is Status.SILENT
    after = Report.read(tmp_path / "demo-guarded" / "report.json").by_mode()
    assert after["optimizer.last-layer-missing"] is Status.DETECTED
    assert not report.baseline.false_alarms
    assert report.baseline.metrics["val_accuracy"] > 0.9, "it learns something real"
    assert str(tmp_path / "demo" / "index.html") in ended.output
    assert "detected by OptimizerCoverage" in ended.output


@pytest.mark.parametrize("judged", [0, 1])
def test_a_demo_that_is_interrupted_says_so_and_keeps_what_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: int
) -> None:
    class Interrupted:
        interrupted = True

        def __init__(self, *given: object) -> None:
            pass

        def run(self) -> Report:
            return Report("demo", faults=[result("loss.nan@always", "detected", detected_by=[detection()])][:judged])

    monkeypatch.setattr(walkthrough, "Campaign", Interrupted)
    ended = CliRunner().invoke(group, ["demo", "--out", str(tmp_path)], standalone_mode=False)
    assert ended.exception is None, ended.output
    assert ended.return_value == 130
    as_json = CliRunner().invoke(group, ["demo", "--json", "--out", str(tmp_path)], standalone_mode=False)
    story = json.loads(as_json.stdout)
    assert story["interrupted"] is True
    assert [told["fault"] for told in story["failures"]] == ["loss.nan@always"][:judged]
    assert [found["scenario"] for found in story["reports"]] == ["demo"]
