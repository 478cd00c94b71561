"""Targets of scale.py: a fit of six steps, a model with a hundred million parameters, and a fit of a thousand steps."""

from __future__ import annotations

import time

import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Regression(LightningModule):
    """A regression that fits the sum of its inputs with the given network."""

    def __init__(self, net: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.net = net
        self.learning_rate = learning_rate

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, y = batch
        return F.mse_loss(self.net(x).squeeze(-1), y)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", F.mse_loss(self.net(x).squeeze(-1), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=0.5)


class Tiny(Regression):
    """Two small layers, so that nearly all of a fault's cost is faultlab's."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), 0.1)


class Large(Regression):
    """A model with a hundred million parameters, mostly a large embedding table; a step uses few of them.

    Only the last layer has gradients and an optimizer, as in fine-tuning, so that a clean step touches little memory.
    """

    def __init__(self, layers: int = 24, width: int = 2048) -> None:
        body = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(layers)]
        super().__init__(nn.Sequential(nn.Linear(4, width), *body, nn.Linear(width, 1)), 0.01)
        self.net[:-1].requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net[-1].parameters(), lr=self.learning_rate)


class Slow(Tiny):
    """A model whose steps compute for ten milliseconds, mostly to spend time."""

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        until = time.process_time() + 0.009
        while time.process_time() < until:
            pass
        return super().training_step(batch, batch_idx)


def data(batches: int, batch_size: int = 8) -> tuple[DataLoader, DataLoader]:
    """Return loaders with this many training batches and one validation batch."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn((batches + 1) * batch_size, 4, generator=generator)
    known = TensorDataset(x, x.sum(1))
    train = torch.utils.data.Subset(known, range(batches * batch_size))
    held_out = torch.utils.data.Subset(known, range(batches * batch_size, len(known)))
    return DataLoader(train, batch_size, shuffle=True), DataLoader(held_out, batch_size)
