"""The Trainer of transformers under `framework: torch`."""

from __future__ import annotations

import copy
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.patching import Patches
from faultlab.core.report import FaultResult, Report, Status
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.hf.logged import metrics_in
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.target import LoopTarget

# Collected without it too: the page of the nightly ring is the same everywhere.
INSTALLED = importlib.util.find_spec("transformers") is not None
pytestmark = pytest.mark.skipif(not INSTALLED, reason="the extra `hf` is not installed")
if INSTALLED:
    from faultlab.frameworks.hf.loop import TrainerLoop
    from tests.frameworks import hf_written

# Steps are asked for at which all batches of an update are fetched long before.
AT_STEPS = ("batch.none@step=6", "weights.nan@step=5", "gradient.nan@step=6", "label.noisy@step=7", "loss.nan@step=5",
            "forward.nan@step=6", "dataset.item-raises@step=6", "step.raises@step=7")  # fmt: skip


def run(tmp_path: Path, train: str, *select: str, keys: str = "", **more: Any) -> Report:
    scenario = tmp_path / "hf.yaml"
    scenario.write_text(
        f"schema: 1\nname: hf\nframework: torch\ntrain: {{class_path: tests.frameworks.hf_written.{train}}}\n" + keys
    )
    return api.run(load(scenario), select=list(select), out=tmp_path / "out", **{"advice": False, **more})


def faults(report: Report) -> dict[str, FaultResult]:
    assert report.reasons == []
    return {fault.id: fault for fault in report.faults}


def layout_of(name: str) -> Any:
    return LoopTarget({"train": {"class_path": f"tests.frameworks.hf_written.{name}"}}).layout


def followed(name: str) -> tuple[Any, Trajectory, list[int]]:
    clock, trajectory, steps = LoopClock(), Trajectory(), []
    loop = TrainerLoop(layout_of(name), trajectory, clock.tick, clock.take_back)
    clock.follow(loop)
    clock.on_step.append(steps.append)
    with Patches() as patches:
        clock.attach(patches)
        getattr(hf_written, name)()
    return loop, trajectory, steps


def test_a_trainer_is_broken_as_it_is_in_the_step_that_was_asked_for(tmp_path: Path) -> None:
    """Also the one test in the quick ring of a whole campaign."""
    found = faults(run(tmp_path, "accumulating", *AT_STEPS))
    assert {id: fault.first_step for id, fault in found.items()} == {id: int(id[-1]) for id in AT_STEPS}
    statuses = {fault.mode: fault.status for fault in found.values()}
    assert statuses["loss.nan"] is Status.SILENT, "the Trainer hides it in the loss that it logs"
    for mode in ("batch.none", "dataset.item-raises", "step.raises"):
        assert statuses[mode] is Status.DETECTED
        assert next(fault for fault in found.values() if fault.mode == mode).detected_by[0].latency == 0


def test_the_filter_of_the_logged_loss_hides_a_step_that_ruins_the_weights() -> None:
    made = hf_written.trainer()
    compute = made.compute_loss
    made.compute_loss = lambda *a, **k: compute(*a, **k) * (torch.nan if made.state.global_step == 3 else 1)
    made.train()
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert losses[3:] == [0.0] * 13
    assert not torch.isfinite(made.model.head.weight).any()


def test_a_step_is_a_call_of_training_step_and_metrics_are_what_the_trainer_logs() -> None:
    loop, trajectory, steps = followed("with_own_loss")
    assert steps == list(range(16))
    assert (trajectory.steps, trajectory.epochs, trajectory.global_step) == (16, 2, 16)
    assert [step for step, _ in trajectory.losses] == steps
    assert trajectory.validation_batches == 8
    assert set(trajectory.metrics) == {"loss", "grad_norm", "learning_rate", "eval_loss", "train_loss"}
    assert [step for step, _ in trajectory.metrics["eval_loss"]] == [4, 9, 14, 15]
    assert loop.module is loop.runs.model


def test_accumulated_batches_are_steps_that_share_one_update() -> None:
    _, trajectory, steps = followed("accumulating")
    assert steps == list(range(16))
    assert trajectory.global_step == 4


def test_the_trainer_itself_evaluates_the_final_weights() -> None:
    loop, trajectory, _ = followed("main")
    evaluated = loop.evaluated(loop.module)
    assert evaluated == {"eval_loss": trajectory.metrics["eval_loss"][-1][1]}
    copied = copy.deepcopy(loop.module)
    copied.head.weight.data.fill_(torch.nan)
    assert not torch.isfinite(torch.tensor(loop.evaluated(copied)["eval_loss"]))
    assert loop.runs.args.logging_nan_inf_filter
    assert loop.evaluated(loop.module) == evaluated


def test_a_trainer_is_left_as_it_was() -> None:
    before = {name: value for name, value in vars(hf_written.Trainer).items() if callable(value)}
    followed("with_own_loss")
    assert {name: vars(hf_written.Trainer)[name] for name in before} == before
    assert "training_step" not in vars(hf_written.Repeated)


@pytest.mark.parametrize(
    ("logs", "metrics"),
    [
        ({"eval_loss": 1, "eval_runtime": 0.1, "eval_samples_per_second": 9.0, "epoch": 1.0}, {"eval_loss": 1.0}),
        ({"eval_a_loss": 1.0, "eval_a_model_preparation_time": 0.1, "name": "a"}, {"eval_a_loss": 1.0}),
        ({"train_loss": 1.0, "total_flos": 1e9, "train_steps_per_second": 3}, {"train_loss": 1.0}),
    ],
)
def test_what_tells_only_time_or_progress_is_no_metric(logs: dict[str, Any], metrics: dict[str, float]) -> None:
    assert metrics_in(logs) == metrics


@pytest.mark.nightly(reason="a whole campaign; the quick ring runs one with another Trainer")
def test_callbacks_of_the_users_are_guards_by_name(tmp_path: Path) -> None:
    report = run(tmp_path, "guarded", "weights.nan@step=5", "gradient.exploding@step=5", "loss.offset")
    assert report.baseline.false_alarms == []
    found = {fault.mode: fault for fault in faults(report).values()}
    (raised,) = found["weights.nan"].detected_by
    assert (raised.kind, raised.name, raised.latency) == ("guard", "FiniteWeights", 0)
    (asked,) = found["gradient.exploding"].detected_by
    assert (asked.kind, asked.name, asked.latency) == ("guard", "SmallGradients", 0)
    assert "asked the Trainer to stop" in asked.message
    assert found["loss.offset"].status is Status.SILENT


@pytest.mark.nightly(reason="a whole campaign of a Trainer")
def test_callbacks_of_the_users_are_broken_as_those_of_lightning_are(tmp_path: Path) -> None:
    found = faults(run(tmp_path, "guarded", "callback.*"))
    assert {id: (fault.status.value, fault.first_step) for id, fault in found.items()} == {
        "callback.disabled:callback=FiniteWeights@always": ("no_effect", 0),
        "callback.disabled:callback=SmallGradients@always": ("no_effect", 0),
        "callback.hook-misnamed@always": ("no_effect", 0),
        "callback.mutates-weights@always": ("silent", 1),
        "callback.raises@always": ("detected", 7),
        "callback.stops-early@always": ("silent", 7),
        "callback.swallows@always": ("no_effect", 0),
    }


@pytest.mark.nightly(reason="a whole campaign; the quick ring shows that the callback raises the alarm")
def test_ready_made_guards_in_a_trainer_are_counted_by_their_own_names(tmp_path: Path) -> None:
    report = run(tmp_path, "watched", "loss.nan@step=5", "optimizer.no-zero-grad")
    assert report.baseline.false_alarms == []
    found = {fault.mode: {one.name for one in fault.detected_by} for fault in faults(report).values()}
    assert "LossContract" in found["loss.nan"]
    assert "GradientsCleared" in found["optimizer.no-zero-grad"]


@pytest.mark.nightly(reason="a whole campaign; the quick ring has the advice of a loop by hand")
def test_guards_that_watch_beside_a_trainer_are_prescribed(tmp_path: Path) -> None:
    report = run(tmp_path, "accumulating", "loss.nan", "optimizer.no-zero-grad", "mode.eval-in-training", advice=True)
    offered = {fault.mode: {one.name for one in fault.prescription} for fault in report.faults}
    assert "LossContract" in offered["loss.nan"]
    assert "GradientsCleared" in offered["optimizer.no-zero-grad"]


@pytest.mark.nightly(reason="a whole campaign; the quick ring runs one that saves nothing")
def test_checkpoints_of_a_trainer_stay_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    report = run(tmp_path, "saving", "loss.nan@step=5", "weights.nan@step=9")
    found = faults(report)
    assert {fault.status for fault in found.values()} == {Status.SILENT}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf.yaml", "out"]
    assert not (tmp_path / "out" / "checkpoint-8").exists()


@pytest.mark.nightly(reason="a whole campaign; the quick ring has the checkpoints of a loop by hand")
def test_a_trainer_that_continues_shows_what_is_wrong_with_its_checkpoints(tmp_path: Path) -> None:
    keys = "resume: {init_args: {resume: true}}\n"
    found = faults(run(tmp_path, "continuing", "checkpoint.*", keys=keys))
    applied = {
        f.mode.partition(".")[2]: f.status.value for f in found.values() if f.status is not Status.NOT_APPLICABLE
    }
    assert applied == {
        "bit-flip": "silent",
        "disk-full": "detected",
        "non-strict": "detected",
        "not-saved": "detected",
        "optimizer-emptied": "silent",
        "optimizer-missing": "detected",
        "partial-write": "detected",
        "reinitialised-after-load": "silent",
        "resume-ignored": "silent",
        "scrambled": "detected",
        "stale": "silent",
        "truncated": "detected",
    }
