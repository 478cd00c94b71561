"""A zoo model that trains on several ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.zoo.equipped import Configured
from tests.zoo.models import _points


class _Ranked(Configured):
    """With buffers, with metrics that are averaged over the ranks, and without a scale that an optimizer hides."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        scores = self(x)
        self.log("val_loss", F.cross_entropy(scores, y), sync_dist=True)
        self.log("val_accuracy", (scores.argmax(1) == y).float().mean(), sync_dist=True)


def ranked() -> tuple[Any, Any]:
    """Two ranks are to train it, each on its half of the data."""
    data = TensorDataset(*_points())
    return _Ranked(), (
        DataLoader(data, batch_size=4, shuffle=True),
        DataLoader(TensorDataset(*_points(32)), batch_size=8),
    )
