"""What becomes of a training whose checkpoints are gone on from; and that no run writes outside its own folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import faultlab
from faultlab.campaign import preparation
from faultlab.campaign.guard_advice import Advice
from faultlab.core.alert import Alert
from faultlab.core.orders import Train
from faultlab.core.report import FaultResult, Status
from faultlab.core.results import Outcome, RunResult
from faultlab.core.target_profile import TargetProfile
from faultlab.core.trajectory import Trajectory
from faultlab.sandbox.layers import confined
from tests.lab import Lab, engine, trained

ROOT = Path(__file__).parents[2]

RAISES = ["checkpoint.not-saved", "checkpoint.truncated", "checkpoint.partial-write", "checkpoint.disk-full"]
SILENT = ["checkpoint.resume-ignored", "checkpoint.optimizer-emptied", "checkpoint.wrong-best", "checkpoint.stale"]
DEADLY = {
    "process.killed": "the process was killed by SIGKILL",
    "process.segfault": "the process was killed by SIGSEGV",
    "process.hangs": "still running after its deadline",
}

MORE = pytest.mark.nightly(reason="more ways to write files; the quick ring has the Trainer's own callbacks, validated")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with engine() as working:
        yield Lab(working, "tests.zoo.models.classifier")


@pytest.fixture(scope="module")
def results(lab: Lab) -> dict[str, FaultResult]:
    faults = [f"{mode}@always" for mode in RAISES + SILENT]
    faults += [f"{mode}@step=6" for mode in (*DEADLY, "process.terminated", "process.disk-full")]
    found = [lab.judge(outcome) for outcome in lab.run(faults).values()]
    return {result.mode: result for result in found}


def _reloaded(lab: Lab) -> RunResult:
    (outcome,) = lab.engine.run([lab.order("again", Train(0, reload=True, profile=lab.profile))])
    return trained(outcome)


def test_a_clean_run_that_goes_on_from_its_checkpoints_repeats_itself_to_the_bit(lab: Lab) -> None:
    again = _reloaded(lab).trajectory
    assert again.same_as(lab.reloaded_twin.trajectory)
    assert again.reloaded.keys() == {"val_loss"}
    assert again.steps == lab.trajectory.steps


def test_the_steps_at_which_a_clean_run_saves_are_counted(lab: Lab) -> None:
    assert _reloaded(lab).saves == 2


@pytest.mark.parametrize("mode", RAISES)
def test_a_checkpoint_that_is_not_there_or_broken_is_detected_when_it_is_loaded(
    results: dict[str, FaultResult], mode: str
) -> None:
    result = results[mode]
    assert result.status is Status.DETECTED, result
    assert [found.kind for found in result.detected_by] == ["framework"]


@pytest.mark.parametrize("mode", SILENT)
def test_what_a_checkpoint_or_a_resume_loses_in_silence_is_harm(results: dict[str, FaultResult], mode: str) -> None:
    result = results[mode]
    assert result.status is Status.SILENT, result
    assert result.harm is not None
    assert result.harm.harmful


def test_a_best_checkpoint_that_only_faultlab_loads_is_not_for_the_training_to_detect(lab: Lab) -> None:
    (outcome,) = lab.run([f"checkpoint.truncated@step={lab.profile.steps - 1}"]).values()
    result = lab.judge(outcome)
    assert result.activations
    assert (result.status, result.detected_by) == (Status.SILENT, []), result
    assert result.harm is not None
    assert result.harm.harmful
    assert result.harm.seen_by.startswith("the checkpoint can't be used: "), result.harm


def test_a_full_disk_says_so(results: dict[str, FaultResult]) -> None:
    (found,) = results["checkpoint.disk-full"].detected_by
    assert found.names_cause
    assert "No space left on device" in found.message


def test_the_worst_checkpoint_is_evaluated_where_the_mode_is_inverted(
    lab: Lab, results: dict[str, FaultResult]
) -> None:
    first_score = lab.reloaded_twin.trajectory.metrics["val_loss"][0][1]
    harm = results["checkpoint.wrong-best"].harm
    assert harm is not None
    assert harm.faulty == pytest.approx(first_score)


@pytest.mark.parametrize("mode", DEADLY)
def test_a_process_that_dies_or_hangs_is_detected_by_the_process(results: dict[str, FaultResult], mode: str) -> None:
    result = results[mode]
    assert result.status is Status.DETECTED, result
    assert (result.activations, result.first_step) == (1, 6)
    (found,) = result.detected_by
    assert (found.kind, found.step) == ("process", 6)
    assert DEADLY[mode] in found.message


def test_a_process_that_is_terminated_and_exits_with_status_0_is_silent(results: dict[str, FaultResult]) -> None:
    result = results["process.terminated"]
    assert result.status is Status.SILENT, result
    assert "status 0 before the training is done" in result.reason


def test_a_disk_that_fills_up_in_a_training_ends_it_when_something_is_written(results: dict[str, FaultResult]) -> None:
    result = results["process.disk-full"]
    assert (result.status, result.activations, result.first_step) == (Status.DETECTED, 1, 6), result


def _report(folder: Path, factory: str, *select: str) -> dict[str, FaultResult]:
    file = folder / "scenario.yaml"
    file.write_text(f"schema: 1\nname: trial\nbuild: {{class_path: tests.zoo.{factory}}}\ntrainer: {{max_epochs: 2}}\n")
    return {fault.mode: fault for fault in faultlab.run(file, select=select, out=folder).faults}


@pytest.mark.nightly(reason="a campaign of its own; the quick ring has each of these faults judged by itself")
def test_a_campaign_comes_to_the_same_verdicts(
    results: dict[str, FaultResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    modes = ["checkpoint.resume-ignored", "checkpoint.not-saved", "process.terminated", "process.killed"]
    found = _report(tmp_path, "models.classifier", *modes)
    for mode in modes:
        one, other = found[mode], results[mode]
        assert (one.status, one.warnings, one.harm) == (other.status, other.warnings, other.harm), mode


@pytest.mark.nightly(
    reason="a campaign of its own; the quick ring has why a target can't go on, and of whom that is said"
)
def test_a_target_that_can_not_go_on_from_its_checkpoints_has_no_faults_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = _report(tmp_path, "equipped.growing", "checkpoint.truncated", "return.none")
    assert found["return.none"].status is not Status.NOT_APPLICABLE
    refused = found["checkpoint.truncated"]
    assert refused.status is Status.NOT_APPLICABLE
    assert refused.reason.startswith("the clean run can't continue from its own checkpoints: ")
    assert "scale" in refused.reason or "state_dict" in refused.reason


def _picture(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("late", [False, pytest.param(True, marks=MORE)], ids=["of the Trainer", "of the module"])
@pytest.mark.parametrize("validated", [pytest.param(False, marks=MORE), True], ids=["not validated", "validated"])
def test_no_run_touches_the_checkpoints_and_logs_of_the_users_own_folder(
    tmp_path: Path, late: bool, validated: bool
) -> None:
    for name in ("best/best.ckpt", "late/own.ckpt", "last.ckpt", "logs/mine/metrics.csv", "logs/mine/hparams.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"the user's own {name}")
    before = _picture(tmp_path)
    with engine() as working:
        lab = Lab(working, "tests.zoo.equipped.keeping", folder=str(tmp_path), late=late, validated=validated)
        faults = ["checkpoint.truncated@always", "checkpoint.not-saved@always", "checkpoint.stale@always",
                  "checkpoint.scrambled@always", "step.raises@step=8", "weights.bit-flip@step=8"]  # fmt: skip
        outcomes = lab.run(faults)
        results = {result.mode: result for result in map(lab.judge, outcomes.values())}
        assert lab.profile.checkpoints
    assert _picture(tmp_path) == before
    assert not [folder for folder in tmp_path.rglob("*") if folder.is_dir() and not any(folder.iterdir())]
    assert results["checkpoint.truncated"].status is Status.DETECTED
    assert all(result.activations for result in results.values()), results


def test_a_victim_of_a_paused_run_writes_in_its_own_folder_too(tmp_path: Path) -> None:
    with engine() as working:
        lab = Lab(working, "tests.zoo.equipped.keeping", folder=str(tmp_path))
        (outcome,) = lab.run(["step.raises@step=1000000000"], at=8).values()
        assert lab.is_clean(outcome), outcome.output
    assert list(tmp_path.iterdir()) == []


def test_a_path_outside_the_runs_folder_has_one_of_its_own_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(tmp_path / "run")
    inside = os.path.join(root, "checkpoints", "a.ckpt")
    assert confined(inside, root) == inside
    assert confined(root, root) == root
    outside = {"/data/best.ckpt", "best.ckpt", "../best.ckpt", "~/best.ckpt", "s3://bucket/best.ckpt", root + "-2/x"}
    found = {confined(path, root) for path in outside}
    assert len(found) == len(outside)
    assert all(os.path.abspath(path).startswith(os.path.join(root, "elsewhere") + os.sep) for path in found)


def test_a_link_that_leads_out_of_the_runs_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "users")
    found = confined(str(tmp_path / "run" / "link" / "a.ckpt"), str(tmp_path / "run"))
    assert os.path.realpath(found).startswith(os.path.realpath(tmp_path / "run") + os.sep)


def test_data_that_can_only_be_had_for_a_training_does_for_evaluating_its_best_checkpoint() -> None:
    with engine() as working:
        lab = Lab(working, "tests.zoo.equipped.fit_only")
        assert lab.reloaded_twin.trajectory.reloaded.keys() == {"val_loss", "val_accuracy"}


def test_where_validate_alone_fails_what_a_resume_loses_is_judged_all_the_same() -> None:
    with engine() as working:
        lab = Lab(working, "tests.zoo.equipped.fit_only", insists=True)
        result = _reloaded(lab)
        assert result.unevaluated_best == "ValueError: no such stage: TrainerFn.VALIDATING"
        lab.profile = replace(lab.profile, unevaluated=result.unevaluated_best)
        (outcome,) = lab.run(["checkpoint.truncated@always"]).values()
        assert lab.judge(outcome).status is Status.DETECTED
        reason = lab.plan(["checkpoint.wrong-best"])["checkpoint.wrong-best@always"]
        assert reason == f"Trainer.validate fails after a training without a fault: {lab.profile.unevaluated}"


def test_why_a_target_can_not_go_on_is_said_of_who_is_to_blame() -> None:
    def why(guards: tuple[str, ...] = (), hooks: tuple[str, ...] = (), **result: Any) -> str:
        findings: Any = SimpleNamespace(guards=guards, profile=TargetProfile(hooks=hooks))
        return preparation._why_unreloadable([Outcome("x", [RunResult(**{"saves": 1, **result})])], findings)

    said = Alert("framework", "", 0, "E: Pickled.watch\nmore")
    raised: dict[str, Any] = {"trajectory": Trajectory(end="raised"), "alerts": [said]}
    whole: dict[str, Any] = {"trajectory": Trajectory(end="finished")}
    assert why(**whole) == ""
    assert why(**raised) == "the clean run can't continue from its own checkpoints: E: Pickled.watch"
    assert "checkpoints, for the guard Pickled: E" in why(("Pickled",), **raised)
    assert why(**{**whole, "saves": 0}) == "the clean run saves no checkpoint"
    assert "counts no step" in why(hooks=("Optimizer.step",), **{**whole, "saves": 0})


def test_guards_that_are_in_the_way_of_checkpoints_watch_the_other_runs() -> None:
    advice = Advice(asked={"monitor": "val_loss"}, disturbed_reload="E")
    assert (advice.order_of(reload=True), advice.order_of(reload=False)) == (None, {"monitor": "val_loss"})
