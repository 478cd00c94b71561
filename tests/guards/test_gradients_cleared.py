"""GradientsCleared: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from faultlab.guards import GradientsCleared
from tests.guards.rig import Healthy, alarm_of


def test_gradients_that_are_never_cleared_are_detected_at_the_second_step() -> None:
    class Hoarder(Healthy):
        seen = 0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.seen += 1
            return super().training_step(batch, batch_idx)

        def optimizer_zero_grad(self, *args: Any) -> None:
            pass

    module = Hoarder()
    alarm = alarm_of(GradientsCleared(), module)
    assert alarm is not None
    assert "zero_grad" in str(alarm)
    assert module.seen == 2


def test_gradients_set_to_zero_are_cleared() -> None:
    class Zeroing(Healthy):
        def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
            optimizer.zero_grad(set_to_none=False)

    assert alarm_of(GradientsCleared(), Zeroing()) is None


def test_accumulation_does_not_count_as_missing_clearing() -> None:
    assert alarm_of(GradientsCleared(), accumulate_grad_batches=3) is None


def test_each_of_two_optimizers_may_be_cleared_at_its_own_time() -> None:
    class Two(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                loss = F.cross_entropy(self(batch[0]), batch[1])
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(self.body.parameters()), torch.optim.SGD(self.head.parameters(), lr=0.1)]

    assert alarm_of(GradientsCleared(), Two()) is None
