"""Ordinary trainings, on which no guard may raise an alarm or fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from faultlab import guards
from tests.guards.rig import Healthy, fit, loaders, points


def watched(module: pl.LightningModule, *callbacks: pl.Callback, **more: Any) -> None:
    fit([guards.all("full", monitor="val_loss"), *callbacks], module, **more)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_warm_restarts(interval: str) -> None:
    """This scheduler does not advance the count of its own turns."""

    class Restarting(Healthy):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
            return [optimizer], [{"scheduler": CosineAnnealingWarmRestarts(optimizer, 3), "interval": interval}]

    watched(Restarting(), max_epochs=4)


def test_averages_of_weights() -> None:
    watched(Healthy(), EMAWeightAveraging(decay=0.5))
    watched(Healthy(), StochasticWeightAveraging(0.02, swa_epoch_start=2, annealing_epochs=1), max_epochs=5)
    watched(Healthy(), max_epochs=3)


def test_a_loss_that_rests_on_chance() -> None:
    class Chancy(Healthy):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self._loss(batch))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self._loss(batch)

        def _loss(self, batch: Any) -> Tensor:
            noise = 0.3 * torch.randn_like(batch[0])
            return F.cross_entropy(self(batch[0] + noise), batch[1])

    watched(Chancy(), max_epochs=4)


def test_a_loss_that_reaches_zero() -> None:
    class Satisfied(Healthy):
        def _loss(self, batch: Any) -> Tensor:
            return F.relu(0.3 - self(batch[0])[:, 0]).mean()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self._loss(batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self._loss(batch))

    module = Satisfied()
    module.body = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid())
    watched(module, max_epochs=12)


def test_classes_that_are_separated_to_the_last_bit() -> None:
    class Fast(Healthy):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.1)

    sides = torch.tensor([0, 1] * 128)
    inputs = torch.randn(256, 4, generator=torch.Generator().manual_seed(3)) + 8.0 * sides[:, None] - 4
    module = Fast()
    module.body = nn.Sequential(nn.Linear(4, 8))
    train = DataLoader(TensorDataset(inputs[:192], sides[:192]), 32, shuffle=True)
    watched(module, train=train, validation=DataLoader(TensorDataset(inputs[192:], sides[192:]), 64), max_epochs=12)


def test_the_whole_of_the_data_as_one_batch() -> None:
    data = points(512)
    watched(Healthy(), train=DataLoader(data, 512, shuffle=True), max_epochs=20, log_every_n_steps=1)


def test_loaders_of_several_batch_sizes() -> None:
    class Several(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return torch.stack([F.cross_entropy(self(inputs), labels) for inputs, labels in batch.values()]).sum()

    watched(Several(), train={"few": loaders(8)[0], "many": DataLoader(points(256, 5), 32, shuffle=True)})


class MadeUp(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for _ in range(128):
            inputs = torch.randn(4)
            yield inputs, (inputs @ torch.tensor([1.0, -1.0, 0.5, 0.2]) > 0).long()


def test_data_that_are_made_up_on_the_way() -> None:
    watched(Healthy(), train=DataLoader(MadeUp(), 16), validation=DataLoader(MadeUp(), 32), max_epochs=3)
