"""What the doctor says of hooks that undo the training, and of plans that don't fit it; with quiet twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from faultlab.doctor import planned, samples
from faultlab.doctor.drawn import DRAWN
from faultlab.doctor.meddled import MEDDLED
from faultlab.doctor.meddling import Meddling
from faultlab.doctor.rates import RATES


class _Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(2, 1)
        self.outputs: list[float] = []
        self.data: Any = "training"

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.net(batch if self.data == "training" else -batch).mean()


class _Watched:
    """A module whose hooks are watched in a made-up training."""

    def __init__(self) -> None:
        self.module = _Net()
        self.seen: dict[str, Any] = {}
        self.watch = Meddling(self.seen)
        optimizer = torch.optim.SGD(self.module.parameters(), lr=0.1)
        self.trainer = SimpleNamespace(global_step=3, optimizers=[optimizer])
        self.start = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.watch.begin(self.module, self.start)

    def run(self, hook: str, act: Any = None) -> None:
        with self.watch.hook(hook, self.trainer):
            if act is not None:
                act()

    def told(self, **seen: Any) -> list[str]:
        return [found.what for found in MEDDLED.run({**self.seen, **seen})]

    def learn(self) -> None:
        for value in self.module.parameters():
            value.data.add_(1.0)


def test_a_hook_that_puts_the_first_weights_back_is_told_and_one_that_loads_others_is_not() -> None:
    watched = _Watched()
    watched.run("Average.on_validation_start")
    assert watched.told() == [], "no weight has changed yet"
    watched.learn()
    others = {name: value + 0.5 for name, value in watched.start.items()}
    watched.run("Average.on_train_batch_end", lambda: watched.module.load_state_dict(others))
    assert watched.told() == []
    watched.run("Average.on_validation_start", lambda: watched.module.load_state_dict(watched.start))
    assert [
        "Average.on_validation_start puts the weights of the training's start back" in what for what in watched.told()
    ]


@pytest.mark.parametrize("names", [["StepLR"], []], ids=["a schedule", "none"])
def test_a_rate_that_is_written_over_a_schedules_is_told_and_a_rate_by_hand_is_not(names: list[str]) -> None:
    watched = _Watched()

    def write() -> None:
        watched.trainer.optimizers[0].param_groups[0]["lr"] = 0.5

    for _ in range(3):
        watched.trainer.optimizers[0].param_groups[0]["lr"] = 0.1
        watched.run("on_train_batch_start", write)
    told = watched.told(schedulers=[{"name": name} for name in names])
    assert ["writes the learning rate itself, twice" in what or "2 times" in what for what in told] == [True] * len(
        names
    )


def test_data_that_validation_switches_is_told_unless_it_is_switched_back() -> None:
    def switching(back: bool) -> list[str]:
        watched = _Watched()
        watched.module.data = object()
        first = watched.module.data
        watched.run("training_step")
        watched.run("on_validation_start", lambda: setattr(watched.module, "data", object()))
        if back:
            watched.run("on_validation_end", lambda: setattr(watched.module, "data", first))
        watched.run("training_step")
        return watched.told()

    assert ["sets self.data for validation" in what for what in switching(False)] == [True]
    assert switching(True) == []


def test_outputs_that_are_never_cleared_are_told_and_cleared_ones_are_not() -> None:
    def collected(clear: bool) -> list[str]:
        watched = _Watched()
        for _ in range(4):
            watched.watch.epoch()
            watched.module.outputs += [0.0] * 8
            if clear:
                watched.module.outputs.clear()
        return watched.told()

    assert ["self.outputs is never cleared" in what for what in collected(False)] == [True]
    assert collected(True) == []


def test_a_warm_up_in_epochs_that_the_training_does_not_finish_is_told_and_one_in_steps_is_not() -> None:
    def planning(interval: str, turns: int) -> list[str]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda turn: min(1.0, turn / 100))
        trainer = SimpleNamespace(
            max_epochs=turns, max_steps=-1, num_training_batches=50, estimated_stepping_batches=50 * turns
        )
        reaches = planned._reaches(schedule, interval, trainer)
        found = RATES.run(
            {"trainer": {}, "schedulers": [{"name": "LambdaLR", "interval": interval, "reaches": reaches}]}
        )
        return [one.what for one in found if one.check == "warm-up"]

    assert ["its warm-up is not over" in what for what in planning("epoch", 5)] == [True]
    assert planning("step", 5) == []
    assert planning("epoch", 200) == []


@pytest.mark.parametrize(
    ("ill", "well"),
    [
        ({"name": "AdamW", "asked": [0.5]}, {"name": "AdamW", "asked": [1e-3]}),
        ({"name": "SGD", "asked": [20.0]}, {"name": "SGD", "asked": [0.5]}),
        ({"name": "Adam", "asked": [1e-3], "decay": 1.0}, {"name": "Adam", "asked": [1e-3], "decay": 1e-2}),
    ],
)
def test_settings_far_out_of_an_optimizers_range_are_told(ill: dict[str, Any], well: dict[str, Any]) -> None:
    def told(group: dict[str, Any]) -> list[str]:
        found = RATES.run({"trainer": {}, "groups": [{"bases": group["asked"], **group}]})
        return [one.what for one in found if one.check == "optimizer settings"]

    assert len(told(ill)) == 1
    assert told(well) == []


def test_validation_samples_that_are_trained_on_are_told_and_the_parts_of_a_split_are_not() -> None:
    whole = TensorDataset(torch.zeros(8, 1))

    def told(trained_on: Any) -> list[str]:
        shared = samples._shared(trained_on, DataLoader(Subset(whole, [6, 7])))
        found = DRAWN.run({"samples": {"shared": shared}})
        return [one.what for one in found if one.check == "held-out samples"]

    assert ["2 of 2 validation samples" in what for what in told(whole)] == [True]
    assert told(Subset(whole, range(6))) == []


def test_labels_that_are_all_the_same_are_told_and_those_of_two_classes_are_not() -> None:
    def told(labels: int) -> list[str]:
        drawn = {"labels": labels, "labelled": 64, "given": 64}
        found = DRAWN.run({"samples": drawn, "labels": {"classes": 3}})
        return [one.what for one in found if one.check == "labels"]

    assert ["all labels of the first epoch are the same" in what for what in told(1)] == [True]
    assert told(2) == []
