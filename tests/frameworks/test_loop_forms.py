"""Training loops that fetch batches ahead, that take gradients by hand, or whose module clears them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from faultlab import api
from faultlab.config.scenario import load
from faultlab.core.patching import Patches
from faultlab.core.report import Report, Status
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.loops import sources
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.target import LoopTarget
from tests.frameworks import hand_loading


def campaign(tmp_path: Path, train: str, *select: str, file: str = "hand_written") -> Report:
    (tmp_path / "loop.yaml").write_text(
        f"schema: 1\nname: loop\nframework: torch\ntrain: {{class_path: tests.frameworks.{file}.{train}}}\n"
        "evaluate: {class_path: tests.frameworks.hand_written.evaluate}\n"
        "monitor: {metric: val_loss, mode: min}\n"
    )
    return api.run(load(tmp_path / "loop.yaml"), select=list(select), out=tmp_path / "out", advice=False)


def test_a_batch_that_is_fetched_ahead_belongs_to_the_step_that_trains_on_it() -> None:
    target = LoopTarget({"train": {"class_path": "tests.frameworks.hand_loading.fetching_ahead"}})
    assert target.layout.ahead == 1
    clock, trajectory, steps = LoopClock(), Trajectory(), []
    loop = Loop(target.layout, trajectory, clock.tick, clock.take_back)
    clock.follow(loop)
    clock.on_step.append(steps.append)
    fetched: dict[int, torch.Tensor] = {}
    trained: list[int] = []

    def mapped(batch: Any, stage: str) -> Any:
        if stage == "train":
            fetched[clock.step] = batch[0]
        return batch

    loop.batch_maps.append(mapped)
    loop.before_forward.append(lambda: trained.append(clock.step))
    with Patches() as patches:
        clock.attach(patches)
        hand_loading.fetching_ahead()
    assert steps == trained == list(range(20))
    assert all(fetched[step] is points for step, points in enumerate(hand_loading.CONSUMED))
    assert [step for step, _ in trajectory.losses] == steps


def test_faults_act_in_their_step_if_batches_are_fetched_ahead(tmp_path: Path) -> None:
    faults = ["input.nan@step=0", "input.nan@step=4", "forward.nan@step=4", "loss.nan@step=1", "batch.none@step=7"]
    report = campaign(tmp_path, "fetching_ahead", *faults, "label.shuffled@always", file="hand_loading")
    assert report.reasons == []
    found = {fault.id: (fault.first_step, fault.activations) for fault in report.faults}
    assert found == {
        "input.nan@step=0": (0, 1),
        "input.nan@step=4": (4, 1),
        "forward.nan@step=4": (4, 1),
        "loss.nan@step=1": (1, 1),
        "batch.none@step=7": (7, 1),
        "label.shuffled@always": (0, 20),
    }


@pytest.mark.parametrize(
    ("fetched", "ahead"),
    [([1, 1, 1], 0), ([2, 1, 1], 1), ([3, 1, 1, 1], 2), ([4, 4, 4], 0), ([2], 0), ([], 0), ([1, 2, 1], 0)],
)
def test_only_a_steady_distance_counts_as_fetching_ahead(fetched: list[int], ahead: int) -> None:
    assert sources.ahead(fetched) == ahead


def test_a_loop_that_takes_its_gradients_by_hand_is_broken_apart_from_them(tmp_path: Path) -> None:
    faults = [
        "weights.nan@step=3",
        "label.shuffled",
        "optimizer.drops-update",
        "gradient.zero",
        "optimizer.no-zero-grad",
    ]
    report = campaign(tmp_path, "by_gradients", *faults)
    assert report.reasons == []
    found = {fault.mode: fault for fault in report.faults}
    assert found["gradient.zero"].reason == "no backward was seen in the clean run"
    assert found["optimizer.no-zero-grad"].reason == "zero_grad is not called in the clean run"
    for mode in ("weights.nan", "optimizer.drops-update"):
        assert found[mode].status is Status.SILENT
    assert found["weights.nan"].first_step == 3


def test_a_module_that_clears_its_gradients_can_forget_it(tmp_path: Path) -> None:
    report = campaign(tmp_path, "keeping", "optimizer.no-zero-grad@always")
    (fault,) = report.faults
    assert (fault.status, fault.activations) == (Status.SILENT, 30)


UNCHANGED = "mode.training-in-validation@always"
AGAIN = pytest.mark.nightly(reason="a campaign more, for another way to name the start method")


@pytest.mark.parametrize("form", ["with_workers", pytest.param("with_start_method", marks=AGAIN)])
def test_faults_in_workers_act_whatever_starts_the_workers(form: str, tmp_path: Path) -> None:
    # Step 6 is the first of the second epoch, before which workers have loaded the batches of a validation.
    faults = ["dataset.item-raises@step=3", "loader.worker-killed@step=2", "loader.worker-raises@step=6"]
    report = campaign(tmp_path, form, *faults, UNCHANGED, file="hand_loading")
    assert report.reasons == []
    found = {fault.id: fault for fault in report.faults}
    validating = found.pop(UNCHANGED)
    assert (validating.status, validating.reason) == (
        Status.NOT_APPLICABLE,
        "its validation leaves all modules in training mode",
    )
    assert {id: (fault.status.value, fault.first_step) for id, fault in found.items()} == {
        "dataset.item-raises@step=3": ("detected", 3),
        "loader.worker-killed@step=2": ("detected", 2),
        "loader.worker-raises@step=6": ("detected", 6),
    }
