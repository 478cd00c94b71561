"""A module with a learning rate from its configuration."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, evaluate, step_loss


class Classifier(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.lr = config.get("learning_rate", 5e-4)
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
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def build():
    train_set, held_out = digits()
    module = Classifier({"learning_rate": 0.02})
    validation = batches(held_out, 128, False)
    return Fit(module, batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 3})


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
