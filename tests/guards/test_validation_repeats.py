"""ValidationRepeats: what it detects, and what it allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from faultlab.guards import ValidationRepeats
from tests.guards.rig import Healthy, alarm_of, fit, loaders, points


class Redrawn(Dataset[Any]):
    """Adds other noise to its inputs, or chooses other labels, each time."""

    def __init__(self, inputs: bool = False, labels: bool = False, share: float = 1.0) -> None:
        self.samples = points(64, seed=1)
        self.inputs, self.labels, self.share = inputs, labels, share

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        point, label = self.samples[index]
        if self.inputs and float(torch.rand(())) < self.share:
            point = point + 0.1 * torch.randn(4)
        return point, 1 - label if self.labels and bool(torch.rand(()) < 0.5) else label


@pytest.mark.parametrize("sanity", [0, 2])
def test_validation_inputs_that_are_drawn_anew_are_detected(sanity: int) -> None:
    loader = DataLoader(Redrawn(inputs=True), batch_size=32)
    alarm = alarm_of(ValidationRepeats(), validation=loader, num_sanity_val_steps=sanity)
    assert alarm is not None
    assert "32 of 32 samples of the first validation batch" in alarm.found


@pytest.mark.parametrize(
    "validation",
    [
        loaders()[1],
        DataLoader(Redrawn(inputs=True, labels=True), batch_size=32),
        DataLoader(Redrawn(inputs=True, share=0.2), batch_size=32),
        DataLoader(points(64, seed=1), batch_size=32, shuffle=True),
        DataLoader(Redrawn(inputs=True), batch_size=4),
    ],
)
def test_validation_data_that_stay_the_same_or_may_be_meant_are_allowed(validation: Any) -> None:
    assert alarm_of(ValidationRepeats(), validation=validation, max_epochs=3) is None


@pytest.mark.parametrize("finer", [1, 2])
def test_inputs_that_are_made_at_random_from_what_is_restored_are_allowed(finer: int) -> None:
    class Restored(Dataset[Any]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            whole = points(64, seed=1)[index][0].repeat(finer)
            return whole[:4] + 0.1 * torch.randn(4), whole

    class Restoring(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.restore = nn.Linear(4, 4 * finer)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.mse_loss(self.restore(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.training_step(batch, batch_idx))

    loader = DataLoader(Restored(), batch_size=32)
    fit(ValidationRepeats(), Restoring(), train=loader, validation=loader, max_epochs=3)
