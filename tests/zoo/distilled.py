"""The zoo's distillation, as a module of Lightning."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from tests.zoo import distillation


class Distilling(distillation.Distilled, pl.LightningModule):
    """Trains the student alone."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self.loss(*batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(*batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learning(), lr=0.02)


def distilled() -> tuple[Any, Any]:
    """A frozen teacher, an adapter, tied weights, weights of classes, a stopped gradient, a loss of three terms."""
    return Distilling(), distillation.loaders()
