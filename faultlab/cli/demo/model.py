"""A classifier that recognizes sine, square and sawtooth waves from 64 noisy samples."""

from __future__ import annotations

import math

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

LENGTH, KINDS = 64, 3
_NOISE = 0.3


class LitWaves(LightningModule):
    """Two convolutions and a linear layer, which classify nearly every wave correctly after two short epochs."""

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.network = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(4),
            nn.Conv1d(16, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(4),
            nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, KINDS),
        )  # fmt: skip

    def forward(self, waves: Tensor) -> Tensor:
        """Return the logits, `float32[n, 3]`, of waves `float32[n, 1, 64]`."""
        logits: Tensor = self.network(waves)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the cross entropy of a batch."""
        waves, kinds = batch
        loss = F.cross_entropy(self(waves), kinds)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log loss and accuracy."""
        waves, kinds = batch
        logits = self(waves)
        self.log("val_loss", F.cross_entropy(logits, kinds))
        self.log("val_accuracy", (logits.argmax(1) == kinds).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class Waves(LightningDataModule):
    """Waves of random pitch and phase, the same in every run."""

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return 512 waves, shuffled."""
        return DataLoader(_waves(512, seed=1), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return 256 other waves."""
        return DataLoader(_waves(256, seed=2), batch_size=128)


def _waves(count: int, seed: int) -> TensorDataset:
    random = torch.Generator().manual_seed(seed)
    kinds = torch.randint(KINDS, (count,), generator=random)
    pitch = 2 + 3 * torch.rand(count, 1, generator=random)
    phase = torch.rand(count, 1, generator=random)
    turns = pitch * torch.linspace(0, 1, LENGTH) + phase
    sine = torch.sin(2 * math.pi * turns)
    shapes = torch.stack([sine, sine.sign(), 2 * (turns % 1) - 1])
    waves = shapes[kinds, torch.arange(count)] + _NOISE * torch.randn(count, LENGTH, generator=random)
    return TensorDataset(waves.unsqueeze(1), kinds)
