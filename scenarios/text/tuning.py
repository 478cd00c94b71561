"""Fine-tuning on answers to questions, with packed rows, padding and ignored labels."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scenarios.text.answers import Answerer, Batch, loaders, loss


class LitAnswerer(pl.LightningModule):
    """Learns the answers, and where they end; the questions are only read."""

    def __init__(self, width: int = 24, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = Answerer(width)

    def forward(self, input_ids: Tensor, segment_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits of each next token."""
        logits: Tensor = self.model(input_ids, segment_ids, attention_mask)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy of the answers."""
        value, _ = loss(self, batch)
        self.log("train_loss", value)
        return value

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `val_loss` and `val_accuracy`."""
        value, right = loss(self, batch)
        self.log_dict({"val_loss": value, "val_accuracy": right}, batch_size=len(batch["labels"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"])


def build(
    rows: int = 512, batch_size: int = 32, learning_rate: float = 0.01
) -> tuple[LitAnswerer, tuple[DataLoader[Batch], DataLoader[Batch]]]:
    """Build the module and its loaders."""
    return LitAnswerer(learning_rate=learning_rate), loaders(rows, batch_size)
