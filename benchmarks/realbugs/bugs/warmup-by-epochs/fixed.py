"""A module with a linear warmup over forty steps."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, evaluate, step_loss

WARMUP = 40


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()

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
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP))
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def build():
    train_set, held_out = digits()
    validation = batches(held_out, 128, False)
    return Fit(Classifier(), batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 4})


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
