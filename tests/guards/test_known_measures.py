"""What KnownGood measures of a run, which runs are recorded, and which numbers have no band."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from faultlab.core.report import dump
from faultlab.guards import KnownGood, KnownGoodRecorder
from faultlab.guards.known_measures import coarse, fine, of_batch, structure
from faultlab.guards.known_profile import combine, read
from tests.guards.known_runs import Declared, summary, train
from tests.guards.rig import Healthy, fit
from tests.guards.test_contract import TARGETS, course, same
from tests.zoo import models


@pytest.mark.parametrize("target", TARGETS)
def test_recording_and_comparing_only_look(target: str) -> None:
    course(TARGETS[target], [])
    bare = course(TARGETS[target], [])
    recorder = KnownGoodRecorder()
    recorded = course(TARGETS[target], [recorder])
    assert same(bare, recorded)
    assert recorder.summary is not None
    assert same(bare, course(TARGETS[target], [KnownGood(combine([recorder.summary]))]))


def test_a_resumed_or_broken_run_is_not_recorded(tmp_path: Path) -> None:
    class Breaks(Declared):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("broken")

    recorder = KnownGoodRecorder(tmp_path / "known.json")
    with pytest.raises(ValueError, match="broken"):
        train(recorder, module=Breaks)
    assert recorder.summary is None
    assert not (tmp_path / "known.json").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no known good runs"):
        KnownGood(tmp_path / "other.json")


def test_losses_under_manual_optimisation_are_compared_too() -> None:
    recorder = KnownGoodRecorder()
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        module, data = models.adversarial()
        fit(recorder, module, *(data if isinstance(data, tuple) else (data,)))
        found.append(copy.deepcopy(recorder.summary))
    assert any("backward pass 2" in name for name in combine([one for one in found if one])["bands"]["loss"])


def test_batches_are_looked_at_ever_less_often() -> None:
    assert [position for position in range(40) if coarse(position) is not None] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    assert [coarse(position) for position in (0, 1, 2, 3, 4, 6, 8)] == list(range(7))
    assert [fine(position)[0] for position in (0, 63, 64, 71, 72, 127, 128, 143, 144)] == [
        0, 63, 64, 64, 65, 71, 72, 72, 73,
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[3, 1, 0, 0, 7], [31, 31], [2, 40], [-1, 4], [0]])
def test_a_few_labels_have_the_numbers_that_many_have(values: list[int]) -> None:
    few = of_batch(torch.tensor(values))
    many = of_batch(torch.tensor(values * 2000))
    assert few == pytest.approx(many, abs=1e-4)
    assert list(few) == list(many)


class Masked(Declared):
    """A module with a layer whose output is infinite by design, as a mask for attention is."""

    class Mask(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x).fill_diagonal_(-torch.inf)

    def __init__(self) -> None:
        super().__init__()
        self.mask = self.Mask()

    def forward(self, x: Tensor) -> Any:
        self.mask(x)
        return super().forward(x)


@pytest.mark.parametrize("write", [dump, json.dumps], ids=["as in reports", "as the recorder does"])
def test_numbers_that_are_not_finite_in_known_good_runs_have_no_band(
    tmp_path: Path, write: Callable[[Any], str]
) -> None:
    file = tmp_path / "known.json"
    file.write_text(write([summary(seed, module=Masked) for seed in (1, 2, 3)]))
    found = combine([read(file)])["bands"]
    assert found["activations"]["the mean of the output of mask"] == {}
    assert found["loss"]
    train(KnownGood(file), 4, module=Masked)


def test_numbers_of_one_call_are_compared_up_to_the_first_outside() -> None:
    bands = {"data": {"a": {"0": [0.0, 1.0]}, "b": {"0": [None, 1.0]}, "c": {"0": [0.0, 1.0]}}}
    guard = KnownGood({"facts": {}, "bands": bands, "format": 1, "runs": 3}, action="warn")
    guard.numbers("data", ("a", "other", "c"), 0, (1.0, 9.0, 0.0))
    guard.numbers("data", ("a", "b", "c"), 4, (9.0, 9.0, 9.0))
    assert guard._found == []
    guard.numbers("data", ("a", "b", "c"), 0, (0.5, float("nan"), 2.0))
    guard.numbers("data", ("c",), 0, (2.0,))
    ((check, found, causes),) = guard._found
    assert check == "data"
    assert (found.partition(" at ")[0], causes) == ("b is nan", "b, nan")
    assert found.endswith("known good runs allow 1 at most")


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("AdamW", lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=20)),
        ("SGD", lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=20)),
        ("SGD", lambda opt: lr_scheduler.CyclicLR(opt, 0.01, 0.1, step_size_up=4)),
        ("Adam", lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 3, 2)),
        ("SGD", lambda opt: lr_scheduler.CosineAnnealingLR(opt, 20)),
        ("SGD", lambda opt: lr_scheduler.SequentialLR(
            opt, [lr_scheduler.LinearLR(opt), lr_scheduler.ExponentialLR(opt, 0.9)], [4])),
    ],
    ids=["one cycle", "one cycle of momentum", "cyclic", "restarts", "cosine", "sequential"],
)  # fmt: skip
def test_the_structure_of_a_resumed_training_is_that_of_its_beginning(optimizer: str, schedule: Any) -> None:
    module = Healthy()
    made = getattr(torch.optim, optimizer)(
        module.parameters(), lr=0.01, **{"momentum": 0.9} if optimizer == "SGD" else {}
    )
    config = SimpleNamespace(scheduler=schedule(made), frequency=1, interval="step", monitor=None)
    trainer: Any = SimpleNamespace(optimizers=[made], lr_scheduler_configs=[config])
    before = structure(trainer, module)
    for _ in range(7):
        made.step()
        config.scheduler.step()
    assert structure(trainer, module) == before
