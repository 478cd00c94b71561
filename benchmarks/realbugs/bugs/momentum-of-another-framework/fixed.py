"""A network for digits with batch normalization, whose epochs end with a small batch."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, evaluate, step_loss


class Digits(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net(norm=True)
        self.net.norm.momentum = 1 - 0.9

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.005)


def build():
    train_set, held_out = digits(996)
    return Fit(
        Digits(), batches(train_set, 31), step_loss, batches(held_out, 128, False), 10, trainer={"max_epochs": 2}
    )


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
