"""A small convolutional classifier of the 8x8 handwritten digits that scikit-learn bundles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from scenarios.digits.splits import load_splits

NUM_CLASSES = 10
Batch = Sequence[Tensor]  # a DataLoader collates pairs into a list of two


class DigitsData(pl.LightningDataModule):
    """The digits in three disjoint splits; the split of a digit depends only on `split_seed`."""

    def __init__(self, batch_size: int = 64, split_seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.splits: dict[str, TensorDataset] = {}

    def setup(self, stage: str) -> None:
        """Build the datasets on copies, so that a change of a sample does not stay in the cache after this run."""
        splits = load_splits(self.hparams["split_seed"])
        self.splits = {name: TensorDataset(x.clone(), y.clone()) for name, (x, y) in splits.items()}

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffle, and drop the last incomplete batch: BatchNorm's statistics are poor on a very small batch."""
        return DataLoader(self.splits["train"], batch_size=self.hparams["batch_size"], shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return every validation sample once."""
        return DataLoader(self.splits["validation"], batch_size=4 * self.hparams["batch_size"])

    def test_dataloader(self) -> DataLoader[Any]:
        """Return every test sample once."""
        return DataLoader(self.splits["test"], batch_size=4 * self.hparams["batch_size"])

    def predict_dataloader(self) -> DataLoader[Any]:
        """Predict on the test split."""
        return self.test_dataloader()


class LitDigits(pl.LightningModule):
    """Two convolutions with BatchNorm, dropout and a linear head."""

    def __init__(
        self,
        channels: int = 12,
        dropout: float = 0.1,
        learning_rate: float = 0.01,
        weight_decay: float = 1e-4,
        decay_per_epoch: float = 0.5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        # No bias in the convolutions: BatchNorm would subtract it again. A higher momentum than the usual 0.1: in a fit
        # this short the running statistics would still remember their initial values.
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels, momentum=0.4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels, momentum=0.4),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 2 * 2, NUM_CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, `float32[n, 10]`."""
        return self.head(self.features(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy on one batch."""
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `val_loss` and `val_accuracy`."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `test_loss` and `test_accuracy`."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the most likely digit of each image."""
        images, _ = batch
        return self(images).argmax(dim=1)

    def _evaluate(self, batch: Batch, stage: str) -> None:
        images, labels = batch
        logits = self(images)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict({f"{stage}_loss": F.cross_entropy(logits, labels), f"{stage}_accuracy": accuracy})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW, with a rate that falls after every epoch."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.hparams["learning_rate"], weight_decay=self.hparams["weight_decay"]
        )
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=self.hparams["decay_per_epoch"])
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
