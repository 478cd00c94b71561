"""GradientsUsed: what it detects, and what it allows."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, GradientsUsed, watch
from tests.guards.rig import Healthy, alarm_of, fit, points


class Manual(Healthy):
    """Steps every third batch, and clears the gradients before each of them if it is careless."""

    careless = True

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        if self.careless or batch_idx % 3 == 0:
            optimizer.zero_grad()
        self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
        if batch_idx % 3 == 2:
            optimizer.step()


def loop(body: Any, size: int = 16, epochs: int = 4, **options: Any) -> None:
    """Train in a loop; ``body`` gets the model, the optimizer and the loader of each epoch."""
    torch.manual_seed(0)
    model, loader = Healthy(), DataLoader(points(), batch_size=size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer, guards=GradientsUsed(), loader=loader, **options):
        for _ in range(epochs):
            body(model, optimizer, loader)


def loss_of(model: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def grouped(cleared: bool) -> Any:
    def body(model: Any, optimizer: Any, loader: Any) -> None:
        stream = iter(loader)
        while group := list(islice(stream, 4)):
            optimizer.zero_grad()
            for batch in group:
                if cleared:
                    optimizer.zero_grad()
                (loss_of(model, batch) / len(group)).backward()
            optimizer.step()

    return body


def counted(clears_rest: bool) -> Any:
    def body(model: Any, optimizer: Any, loader: Any) -> None:
        if clears_rest:
            optimizer.zero_grad()
        for number, batch in enumerate(loader):
            (loss_of(model, batch) / 3).backward()
            if number % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()

    return body


def test_gradients_cleared_before_each_accumulated_batch_are_detected() -> None:
    alarm = alarm_of(GradientsUsed(), Manual())
    assert alarm is not None
    assert (alarm.check, "cleared without a step" in alarm.found) == ("cleared", True)
    with pytest.raises(Alarm, match="of its last batches") as caught:
        loop(grouped(cleared=True), size=8)
    assert caught.value.check == "cleared"


def test_a_rest_that_is_cleared_at_the_end_of_each_epoch_is_detected() -> None:
    with pytest.raises(Alarm, match="the last 2 of 8 batches") as caught:
        loop(counted(clears_rest=True))
    assert caught.value.check == "rest-cleared"


@pytest.mark.parametrize("body", [grouped(cleared=False), counted(clears_rest=False)])
def test_accumulated_gradients_that_are_used_are_allowed(body: Any) -> None:
    loop(body)


def test_accumulation_by_lightning_or_by_the_module_is_allowed() -> None:
    module = Manual()
    module.careless = False
    fit(GradientsUsed(), module)
    fit(GradientsUsed(), accumulate_grad_batches=3)


def test_batches_left_out_now_and_then_and_perturbed_inputs_are_allowed() -> None:
    def leaving_out(model: Any, optimizer: Any, loader: Any) -> None:
        for number, batch in enumerate(loader):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            if number % 8 != 5:
                optimizer.step()

    def attacking(model: Any, optimizer: Any, loader: Any) -> None:
        for points_, labels in loader:
            loss_of(model, (points_.requires_grad_(), labels)).backward()
            optimizer.zero_grad()
            loss_of(model, (points_.detach() + 0.1 * points_.grad.sign(), labels)).backward()
            optimizer.step()
            optimizer.zero_grad()

    for body in (leaving_out, attacking):
        loop(body)


def test_weights_that_change_unseen_count_as_a_step() -> None:
    class Unseen(Manual):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    assert alarm_of(GradientsUsed(), Unseen(), max_epochs=4) is None
