"""AccumulationDivided: gradients of several batches, summed or averaged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faultlab.guards import AccumulationDivided
from tests.guards.rig import Healthy, alarm_of, fit


class Accumulating(Healthy):
    """Steps manually after every ``count`` batches."""

    count = 4

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def before_step(self) -> None:
        """Change the gradients; does nothing by default."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        self.manual_backward(self.loss(batch))
        if (batch_idx + 1) % self.count == 0:
            self.before_step()
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)


class Divided(Accumulating):
    def loss(self, batch: Any) -> Tensor:
        return super().loss(batch) / self.count


class DividedGradients(Accumulating):
    def before_step(self) -> None:
        for parameter in self.parameters():
            assert parameter.grad is not None
            parameter.grad /= self.count


class Clipped(Accumulating):
    def before_step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.1)


class OfSums(Accumulating):
    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1], reduction="sum") / 128


class Adaptive(Accumulating):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


class EveryBatch(Accumulating):
    count = 1


class WholeEpoch(Accumulating):
    count = 8


class TwoLosses(Accumulating):
    """Two backward passes per batch, such as of a real and a generated half, belong to one step."""

    count = 1

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        super().training_step(batch, batch_idx)


def test_a_sum_of_several_batches_is_detected_at_the_second_step() -> None:
    alarm = alarm_of(AccumulationDivided(), Accumulating(), max_epochs=1)
    assert alarm is not None
    assert alarm.check == "undivided"
    assert "Divide the loss by 4" in alarm.remedy


@pytest.mark.parametrize(
    "make",
    [Divided, DividedGradients, Clipped, OfSums, Adaptive, EveryBatch, WholeEpoch, TwoLosses, Healthy],
)
def test_means_and_what_asks_for_no_mean_are_allowed(make: Any) -> None:
    fit(AccumulationDivided(), make(), max_epochs=3)


def test_what_lightning_accumulates_is_allowed() -> None:
    fit(AccumulationDivided(), accumulate_grad_batches=4)
