"""Targets that are hard to judge: that draw from the system, compute their loss by what is broken, or diverge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def _loaders(seed: int | None = 0) -> tuple[Any, Any]:
    drawn = np.random.RandomState(seed)
    x = torch.tensor(drawn.normal(size=(64, 4)), dtype=torch.float32)
    data = TensorDataset(x, (x.sum(1) > 0).long())
    return DataLoader(data, 8), DataLoader(data, 32)


class Classifier(pl.LightningModule):
    """Logs its loss, which it computes from what the network gives."""

    def __init__(self, net: nn.Module, rate: float = 0.05) -> None:
        super().__init__()
        self.net = net
        self.rate = rate

    def loss(self, batch: Any) -> torch.Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


class LogLikelihood(Classifier):
    """Its loss takes what the network's last activation gives for logarithms of probabilities."""

    def loss(self, batch: Any) -> torch.Tensor:
        return F.nll_loss(self.net(batch[0]), batch[1])


class Squared(nn.Module):
    """A loss with an activation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.squash = nn.Sigmoid()

    def forward(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.squash(output), F.one_hot(labels, 2).float())


class WithLossModule(Classifier):
    """Its loss is a module of its own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.criterion = Squared()

    def loss(self, batch: Any) -> torch.Tensor:
        return self.criterion(self.net(batch[0]), batch[1])


class Particular(Classifier):
    """Refuses to take a step with weights that have grown out of bounds."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if any(parameter.abs().max() > 10 for parameter in self.parameters()):
            raise ValueError("these weights can't be used")
        return self.loss(batch)


class Scored(Classifier):
    """Logs numbers whose names say nothing, one of them as a Metric."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.hits = torchmetrics.classification.BinaryAccuracy()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.hits(self.net(batch[0]).argmax(1), batch[1])
        self.log("val_x", self.hits)


def _net(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), *more)


def of_entropy() -> tuple[Any, ...]:
    """Its data are drawn anew in every process that builds it."""
    return Classifier(_net(), rate=0.5), _loaders(seed=None)


def of_log_likelihood() -> tuple[Any, ...]:
    """Its network ends with what its loss needs."""
    return LogLikelihood(_net(nn.LogSoftmax(dim=1))), _loaders()


def of_loss_module() -> tuple[Any, ...]:
    """Its loss has the only activation that there is."""
    return WithLossModule(nn.Linear(4, 2)), _loaders()


def of_particular() -> tuple[Any, ...]:
    """It has no validation, and is evaluated by its training step."""
    return Particular(_net()), _loaders()[0]


def of_one_wild_seed() -> tuple[Any, ...]:
    """With one of the clean seeds it diverges."""
    return Classifier(_net(), rate=1e6 if torch.initial_seed() == 2 else 0.05), _loaders()


def of_passed_in() -> tuple[Any, ...]:
    """Its network has its weights before the module's constructor begins."""
    return Classifier(_net()), _loaders()


def of_score() -> tuple[Any, ...]:
    """It logs a Metric."""
    return Scored(_net()), _loaders()
