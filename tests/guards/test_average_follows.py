"""AverageFollows: averages of the weights that are kept beside a training."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, AverageFollows, watch
from faultlab.guards.support import lookalikes
from tests.guards.rig import Healthy, alarm_of, fit, points

Update = Callable[[nn.Module, nn.Module, int], None]


class Net(nn.Module):
    """A network of a class of its own, as averages have it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, inputs: Any) -> Any:
        return self.head(torch.relu(self.body(inputs)))


def check_of(update: Update, make: Callable[[nn.Module], nn.Module], epochs: int = 6, rate: float = 0.01) -> str:
    """Train with a copy that is updated after each step, and return the check that fails, empty if none does."""
    torch.manual_seed(0)
    gc.collect()  # models of other tests
    model = Net()
    beside = make(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    loader = DataLoader(points(), batch_size=16)
    step = 0
    try:
        with watch(model, optimizer, guards=(guard := AverageFollows()), loader=loader):
            for _ in range(epochs):
                for inputs, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
                    with torch.no_grad():
                        update(beside, model, step := step + 1)
    except Alarm as alarm:
        return alarm.check
    assert guard.looked
    return ""


def copied(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).requires_grad_(False)


def halved(model: nn.Module) -> nn.Module:
    return copied(model).bfloat16()


def moved(share: float) -> Update:
    """Return an update that moves a copy towards the weights by a share of the way."""

    def update(beside: nn.Module, model: nn.Module, step: int) -> None:
        for ours, theirs in zip(beside.parameters(), model.parameters()):
            ours.add_((theirs.to(ours.dtype) - ours) * share)

    return update


def every(steps: int) -> Update:
    def update(beside: nn.Module, model: nn.Module, step: int) -> None:
        if step % steps == 0:
            beside.load_state_dict(model.state_dict())

    return update


def mean(beside: nn.Module, model: nn.Module, step: int) -> None:
    moved(1 / step)(beside, model, step)


def noisy(beside: nn.Module, model: nn.Module, step: int) -> None:
    for ours, theirs in zip(beside.parameters(), model.parameters()):
        ours.copy_(theirs + torch.randn_like(theirs))


def nothing(beside: nn.Module, model: nn.Module, step: int) -> None:
    pass


@pytest.mark.parametrize("share", [-0.05, -0.01])
def test_an_average_that_moves_away_is_detected(share: float) -> None:
    assert check_of(moved(share), copied) == "pushed-away"


def test_an_average_in_half_precision_whose_updates_are_lost_is_detected() -> None:
    assert check_of(moved(0.002), halved) == "rounded-away"


@pytest.mark.parametrize(
    ("update", "make"),
    [
        (moved(0.05), copied),
        (moved(0.0001), copied),
        (moved(1.0), copied),
        (moved(1.0), halved),
        (mean, copied),
        (every(8), copied),
        (every(8), halved),
        (noisy, copied),
        (nothing, copied),
        (nothing, halved),
        (lambda beside, model, step: beside.update_parameters(model), AveragedModel),
        (
            lambda beside, model, step: beside.update_parameters(model),
            lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
        ),
    ],
)
def test_copies_that_follow_and_those_that_are_kept_are_allowed(update: Update, make: Any) -> None:
    assert check_of(update, make) == ""


def test_a_model_that_learns_by_itself_beside_this_one_is_allowed() -> None:
    def train(beside: nn.Module, model: nn.Module, step: int) -> None:
        with torch.enable_grad():
            inputs, labels = points().tensors
            loss = F.cross_entropy(beside(inputs), 1 - labels)
            gradients = torch.autograd.grad(loss, [*beside.parameters()])
        for parameter, gradient in zip(beside.parameters(), gradients):
            parameter.grad = gradient
            parameter.sub_(0.2 * gradient)

    assert check_of(train, copy.deepcopy) == ""


def test_the_average_of_another_model_is_not_taken_for_one_of_this() -> None:
    def follow(beside: nn.Module, model: nn.Module, step: int) -> None:
        for parameter in beside.parameters():
            parameter.mul_(1.05)

    assert check_of(follow, lambda model: Net().requires_grad_(False)) == ""


class WithAverage(Healthy):
    share = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.average = copied(self.net)
        del self.body, self.head

    def forward(self, inputs: Any) -> Any:
        return self.net(inputs)

    def on_train_batch_end(self, *args: Any) -> None:
        with torch.no_grad():
            moved(self.share)(self.average, self.net, 0)


class PushedAway(WithAverage):
    share = -0.05


def test_an_average_that_is_a_part_of_the_module_is_judged() -> None:
    gc.collect()  # models of other tests
    alarm = alarm_of(AverageFollows(), PushedAway(), max_epochs=6)
    assert alarm is not None
    assert alarm.check == "pushed-away"
    fit(AverageFollows(), WithAverage(), max_epochs=6)


def test_neither_module_nor_copy_is_kept_alive() -> None:
    gc.collect()  # models of other tests
    model = Net()
    beside = copied(model)
    (found,) = lookalikes.of(model)
    assert found.is_alive
    del beside
    assert not found.is_alive
