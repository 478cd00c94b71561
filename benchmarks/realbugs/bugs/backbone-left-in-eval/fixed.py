"""A module with a pretrained backbone."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Fit, step_loss


def from_pretrained():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3))


class FineTuned(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = from_pretrained()
        self.head = nn.Linear(64, 10)
        self.modes = []

    def forward(self, images):
        return self.head(self.backbone(images))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        self.modes.append(self.backbone.training)
        return F.cross_entropy(self(images), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.005)


def build():
    train_set, held_out = digits()
    validation = batches(held_out, 128, False)
    return Fit(FineTuned(), batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 3})


def measure(parts):
    return 1 - sum(parts.model.modes) / len(parts.model.modes)
