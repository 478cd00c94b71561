"""Modules that save their hyperparameters, one derived from the other."""

import pytorch_lightning as pl
import torch
from torch import nn


class LitLine(pl.LightningModule):
    """Saves them for itself and for what is derived from it."""

    def __init__(self, features=1, rate=0.5, scale=1.0):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(features, 1)

    def forward(self, x):
        """With a scale of one, to divide is to multiply."""
        return self.layer(x) * self.hparams.scale

    def training_step(self, batch, index):
        x, y = batch
        loss = (self(x) - y).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.rate)


class LitSquare(LitLine):
    """A line in x and its square. Relies on what it is derived from."""

    def __init__(self, rate=0.25, power=2):
        super().__init__(features=2, rate=rate)
        self.power = power

    def forward(self, x):
        return super().forward(torch.hstack([x, x**self.power]))


class LitSteep(LitLine):
    """Saves them once more, and leaves one out."""

    def __init__(self, rate, steepness=3):
        super().__init__(rate=rate)
        self.save_hyperparameters(ignore=["rate"])
