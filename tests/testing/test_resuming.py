"""A training that is interrupted and resumed ends as one that is not, or the assertion says what is missing."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.errors import UsageError
from faultlab.testing import assert_resume_equivalent
from tests.guards.rig import Healthy, loaders, points

Different = AssertionError


class Scheduled(Healthy):
    """Learns with a schedule by step, and without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body[3].p = 0.0

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.95**step)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _in_order() -> Any:
    return DataLoader(points(), batch_size=16)


def test_a_module_with_data_in_a_fixed_order_resumes() -> None:
    assert_resume_equivalent(lambda: (Scheduled(), _in_order()), epochs=3, after=2)


def test_shuffling_is_not_resumed_unless_its_random_numbers_are() -> None:
    with pytest.raises(Different, match=r"(?s)random numbers: torch differs.*position in the data: the batches is"):
        assert_resume_equivalent(lambda: (Scheduled(), loaders()))
    assert_resume_equivalent(lambda: (Scheduled(), loaders()), leave_out=["random"])


def test_dropout_needs_random_numbers_too() -> None:
    assert_resume_equivalent(lambda: (Healthy(), loaders()), leave_out=["random"], epochs=3)


class Forgetful(Scheduled):
    """Leaves a part of the checkpoint out."""

    part = ""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.part == "optimizer":
            checkpoint["optimizer_states"] = [{**one, "state": {}} for one in checkpoint["optimizer_states"]]
        if self.part == "scheduler":
            checkpoint["lr_schedulers"] = []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.part == "buffers":
            checkpoint["state_dict"]["body.1.running_mean"].zero_()
        if self.part == "parameters":
            checkpoint["state_dict"]["head.weight"].mul_(2)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("optimizer", r"state of the optimizer: optimizer 0.state.0.step is missing"),
        ("scheduler", r"state of the scheduler: scheduler 0.*last_epoch is 0, was 8"),
        ("buffers", r"buffers: body.1.running_mean differs by"),
        ("parameters", r"parameters: head.weight differs by"),
    ],
)
def test_what_the_checkpoint_did_not_bring_back_is_named(part: str, says: str) -> None:
    cls = type("Forgetful", (Forgetful,), {"part": part})
    with pytest.raises(Different, match=r"ends differently: ") as failed:
        assert_resume_equivalent(lambda: (cls(), _in_order()))
    lines = str(failed.value).splitlines()
    assert lines[1] == "It did not get back what was saved:"
    assert len(lines) == 3, "nothing else is blamed"
    assert re.search(says, lines[2]), lines[2]


class Loop:
    """A loop written by hand, with all that it trains."""

    def __init__(self, shuffled: bool = False) -> None:
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda epoch: 0.5**epoch)
        self.order = torch.Generator().manual_seed(1)
        inputs, labels = points(64).tensors
        self.loader = DataLoader(TensorDataset(inputs, labels), 16, shuffle=shuffled, generator=self.order)

    def state(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler")}
        return {**parts, "order": self.order.get_state()}


def _train(loop: Loop, epochs: int) -> None:
    loop.model.train()
    for _ in range(epochs):
        for inputs, labels in loop.loader:
            loop.optimizer.zero_grad()
            F.cross_entropy(loop.model(inputs), labels).backward()
            loop.optimizer.step()
        loop.scheduler.step()


def _save(loop: Loop, path: str) -> None:
    torch.save(loop.state(), path)


def _load(loop: Loop, path: str, without: str = "") -> None:
    for name, state in torch.load(path, weights_only=False).items():
        if name == without:
            continue
        if name == "order":
            loop.order.set_state(state)
        else:
            getattr(loop, name).load_state_dict(state)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_loop_that_saves_all_of_its_state_resumes(shuffled: bool) -> None:
    assert_resume_equivalent(
        lambda: Loop(shuffled), train=_train, save=_save, load=_load, epochs=4, after=2, leave_out=["random"]
    )


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("optimizer", "state of the optimizer: .*momentum_buffer is missing"),
        ("scheduler", "state of the scheduler: scheduler.last_epoch is 0, was 1"),
        ("order", "random numbers: order differs"),
        ("model", "parameters: 0.weight differs by"),
    ],
)
def test_what_a_loop_does_not_load_is_named(without: str, says: str) -> None:
    def load(loop: Loop, path: str) -> None:
        _load(loop, path, without)

    with pytest.raises(Different, match=f"(?s)ends differently: .*{says}"):
        assert_resume_equivalent(
            lambda: Loop(True), train=_train, save=_save, load=load, epochs=3, leave_out=["random"]
        )


def test_the_process_keeps_its_random_numbers() -> None:
    before = torch.get_rng_state()
    assert_resume_equivalent(lambda: (Scheduled(), _in_order()))
    assert torch.equal(before, torch.get_rng_state())


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="2 epochs can't be interrupted after 2"):
        assert_resume_equivalent(Scheduled, after=2)
    with pytest.raises(UsageError, match="needs all of train, save and load"):
        assert_resume_equivalent(Loop, train=_train)
    with pytest.raises(UsageError, match="invalid leave_out optimizer"):
        assert_resume_equivalent(Scheduled, leave_out=["optimizer"])
