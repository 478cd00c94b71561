"""Whole campaigns: the verdicts are those of stock Lightning, repeatable, and the same from either engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import faultlab
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.config.scenario import load
from faultlab.core.report import FaultResult, Report, Status
from faultlab.gate.demands import exit_code
from tests import warm
from tests.lab import engine
from tests.support import Quiet

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "scenarios" / "digits"
WHOLE = pytest.mark.nightly(reason="a campaign of all failure modes on digits, which the main job runs too")
FRESH = pytest.mark.nightly(reason="a fresh interpreter for each run; the quick ring has copies of one in their place")

MORE = pytest.mark.nightly(
    reason="more faults by both engines; the quick ring has three, one of which ends the process"
)
# Guards that raise, stop, warn, have helpers, or hooks on the instance.
MAKES = ("FiniteLoss", "Stopper", "Warner", "WithHelper", "with_instance_hook")
BOTH = ["loss.nan@step=5", "forward.nan@always,stage=validate", "step.system-exit@step=3",
        "return.none@step=5", "label.shuffled@always", "step.raises@step=2", "step.renamed@always"]  # fmt: skip


def _faults(report: Report) -> dict[str, FaultResult]:
    return {fault.mode: fault for fault in report.faults}


def _scenario(folder: Path, factory: str, more: str = "") -> Path:
    file = folder / "scenario.yaml"
    head = f"schema: 1\nname: trial\nbuild: {{class_path: tests.zoo.models.{factory}}}\ntrainer: {{max_epochs: 2}}\n"
    file.write_text(head + more)
    return file


def _untimed(fault: FaultResult) -> dict[str, object]:
    """The verdict without what was timed."""
    prescribed = [(entry.guard, entry.step) for entry in fault.prescription]
    return {**fault.__dict__, "seconds": 0, "prescription": prescribed}


pytestmark = pytest.mark.usefixtures("from_the_root")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return faultlab.run(DIGITS / "scenario.yaml", out=tmp_path_factory.mktemp("digits"))


@WHOLE
def test_unguarded_digits_are_judged_as_stock_lightning_behaves(digits: Report) -> None:
    faults = _faults(digits)
    assert faults["return.none"].status is Status.WARNED
    for mode in ("return.constant-leaf", "loss.nan", "label.shuffled", "batch.repeated", "gradient.zero"):
        assert faults[mode].status is Status.SILENT, faults[mode]
    for mode in ("batch.inputs-only", "return.dict-without-loss", "return.infinite-no-grad"):
        assert faults[mode].status is Status.DETECTED, faults[mode]
        assert [found.kind for found in faults[mode].detected_by] == ["framework"]


@WHOLE
def test_every_applicable_fault_is_activated_and_none_is_inconclusive(digits: Report) -> None:
    counts = digits.to_json()["coverage"]["faults"]
    assert (counts["error"], counts["not_activated"], counts["timeout"]) == (0, 0, 0)
    assert digits.passed
    assert digits.baseline.deterministic
    assert digits.baseline.false_alarms == []


@WHOLE
def test_the_same_seed_gives_the_same_verdicts_whether_guards_watch_or_not(digits: Report, tmp_path: Path) -> None:
    again = faultlab.run(DIGITS / "scenario.yaml", out=tmp_path, advice=False)
    for first, second in zip(digits.faults, again.faults, strict=True):
        assert (first.id, first.status, first.activations, first.first_step, first.harm) == (
            second.id, second.status, second.activations, second.first_step, second.harm,
        )  # fmt: skip


@WHOLE
def test_guards_raise_the_coverage_and_name_causes(digits: Report, tmp_path: Path) -> None:
    guarded = faultlab.run(DIGITS / "guarded.yaml", out=tmp_path, advice=False)
    assert guarded.baseline.false_alarms == []
    assert guarded.ratio is not None
    assert digits.ratio is not None
    assert guarded.ratio > digits.ratio + 0.2
    best = _faults(guarded)["loss.nan"].best
    assert best is not None
    assert (best.kind, best.names_cause, best.latency) == ("guard", True, 0)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """A campaign under guards of every make, and the folder that it leaves."""
    folder = tmp_path_factory.mktemp("guarded")
    guards = "\n".join(f"  - {{class_path: tests.zoo.guards.{name}}}" for name in MAKES)
    scenario = _scenario(folder, "classifier", f"guards:\n{guards}\n  - trainer_flag: {{detect_anomaly: true}}\n")
    return faultlab.run(scenario, select=["loss.nan@step=4", "input.nan@step=4"], out=folder, advice=False), folder


def test_one_run_fills_the_whole_row_whatever_each_guard_does(guarded: tuple[Report, Path]) -> None:
    report, _ = guarded
    helpers = {"WithHelper", "LambdaCallback"}
    for fault in report.faults:
        found = {detection.name: detection.step for detection in fault.detected_by if detection.kind == "guard"}
        assert {name: step for name, step in found.items() if name not in helpers} == {
            "FiniteLoss": 4, "Stopper": 4, "Warner": 4, "detect_anomaly": 4,
        }, fault  # fmt: skip


def test_a_check_in_the_users_own_step_counts_as_the_modules(tmp_path: Path) -> None:
    report = faultlab.run(_scenario(tmp_path, "asserting"), select=["input.nan@step=4"], out=tmp_path, advice=False)
    (found,) = report.faults[0].detected_by
    assert (found.kind, found.step, found.latency) == ("module", 4, 0)
    assert "inputs must be finite" in found.message


def test_a_guard_that_fires_on_the_clean_run_is_a_false_alarm_and_catches_nothing(tmp_path: Path) -> None:
    scenario = _scenario(tmp_path, "classifier", "guards:\n  - {class_path: tests.zoo.guards.CriesWolf}\n")
    report = faultlab.run(scenario, select=["loss.zeroed"], out=tmp_path, advice=False)
    assert [alarm.name for alarm in report.baseline.false_alarms] == ["CriesWolf"]
    assert _faults(report)["loss.zeroed"].status is Status.SILENT


def test_a_guard_that_fires_only_where_a_healthy_run_is_resumed_is_a_false_alarm_too(tmp_path: Path) -> None:
    """What another says of being interrupted by the harness is none; it says the same of a healthy run."""
    names = ("CriesWolfOnLoading", "WantsWholeTrainings")
    guards = "\n".join(f"  - {{class_path: tests.zoo.guards.{name}}}" for name in names)
    scenario = _scenario(tmp_path, "classifier", f"guards:\n{guards}\n")
    report = faultlab.run(scenario, select=["checkpoint.stale"], out=tmp_path, advice=False)
    (alarm,) = report.baseline.false_alarms
    assert (alarm.name, alarm.message) == (
        "CriesWolfOnLoading",
        "continuing from its checkpoints: RuntimeError: wolf",
    )
    assert _faults(report)["checkpoint.stale"].status is Status.SILENT
    assert exit_code(report) == 3


@pytest.mark.nightly(reason="waits for a deadline, and tries again what was late")
def test_a_run_that_was_late_among_others_is_tried_once_more_alone(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Outside of the project: what one run writes there no other finds.
    marker = tmp_path_factory.mktemp("outside") / "late"
    guard = f"guards:\n  - {{class_path: tests.zoo.guards.LateOnce, init_args: {{marker: {marker}}}}}\n"
    scenario = load(_scenario(tmp_path, "classifier", guard))
    options = Options(select=("loss.nan@step=4",), timeout=4, out=tmp_path, watch=Watch(advised=False))
    with engine() as working:
        report = Campaign(scenario, working, options, Quiet()).run()
    assert marker.exists()
    assert [(found.name, found.step) for found in report.faults[0].detected_by] == [("LateOnce", 4)]
    assert report.passed


@pytest.mark.nightly(reason="a campaign of its own; test_unsettled.py has targets that never repeat themselves")
def test_a_target_that_never_repeats_itself_is_judged_by_how_far_it_strays(tmp_path: Path) -> None:
    report = faultlab.run(
        _scenario(tmp_path, "restless"), select=["loss.negated", "return.none@step=3"], out=tmp_path, advice=False
    )
    assert not report.baseline.deterministic
    assert _faults(report)["loss.negated"].status is Status.SILENT
    assert not any(reason.proves_nothing for reason in report.reasons)


def test_the_scenario_may_say_what_inputs_and_labels_are(tmp_path: Path) -> None:
    scenario = _scenario(tmp_path, "classifier", 'batch: {inputs: "1", labels: "0"}\n')
    report = faultlab.run(scenario, select=["label.off-by-one", "input.noise"], out=tmp_path, advice=False)
    statuses = {fault.mode: (fault.status, fault.reason) for fault in report.faults}
    assert statuses["label.off-by-one"][0] is Status.NOT_APPLICABLE
    assert statuses["input.noise"][0] is Status.NOT_APPLICABLE


def test_exemptions_hold_until_they_expire(tmp_path: Path) -> None:
    exemptions = """faults:
  select: ["loss.zeroed", "loss.negated"]
  ignore:
    - {mode: loss.zeroed, reason: by design, expires: 2999-01-01}
    - {mode: loss.negated, reason: by design, expires: 2020-01-01}
"""
    report = faultlab.run(_scenario(tmp_path, "classifier", exemptions), out=tmp_path, advice=False)
    faults = _faults(report)
    assert faults["loss.zeroed"].status is Status.IGNORED
    assert "by design" in faults["loss.zeroed"].reason
    assert faults["loss.negated"].status is Status.SILENT


@pytest.mark.parametrize(
    ("begun", "faults"),
    [
        pytest.param("as copies", BOTH[:3], id="as copies"),
        pytest.param("as copies", BOTH[3:], id="as copies, more", marks=MORE),
        pytest.param("afresh", BOTH, id="afresh", marks=FRESH),
    ],
)
def test_both_engines_come_to_the_same_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str, faults: list[str]
) -> None:
    if begun == "afresh":
        monkeypatch.setattr(subprocess, "Popen", warm.FRESH)
    scenario = _scenario(tmp_path, "classifier")
    reports = [faultlab.run(scenario, select=faults, engine=name, out=tmp_path / name) for name in ("fork", "spawn")]
    forked, spawned = ([_untimed(fault) for fault in report.faults] for report in reports)
    assert forked == spawned
    assert len(forked) == len(faults)
    assert any(fault["prescription"] for fault in forked)


def test_the_plan_is_on_disk_and_the_report_reads_back(guarded: tuple[Report, Path]) -> None:
    report, folder = guarded
    plan = json.loads((folder / "trial" / "selected" / "plan.json").read_text())
    assert [entry["id"] for entry in plan["faults"]] == [fault.id for fault in report.faults]
    read = Report.read(folder / "trial" / "selected" / "report.json")
    assert read.to_json() == json.loads((folder / "trial" / "selected" / "report.json").read_text())


def test_guards_with_helpers_and_with_hooks_on_the_instance_are_observed(guarded: tuple[Report, Path]) -> None:
    report, _ = guarded
    assert report.baseline.false_alarms == []
    (fault,) = [fault for fault in report.faults if fault.mode == "loss.nan"]
    found = {(detection.name, detection.step) for detection in fault.detected_by if detection.kind == "guard"}
    assert found >= {("WithHelper", 4), ("LambdaCallback", 4)}
