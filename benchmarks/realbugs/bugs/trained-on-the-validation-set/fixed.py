"""A data module that splits a validation set off its data."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import random_split

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, error_rate, evaluate, step_loss


class Digits(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.dataset = digits(300)[0]
        self.setup()

    def setup(self, stage=None):
        generator = torch.Generator().manual_seed(1)
        self.train_dataset, self.val_dataset = random_split(self.dataset, [150, 150], generator)

    def train_dataloader(self):
        return batches(self.train_dataset, 16)

    def val_dataloader(self):
        return batches(self.val_dataset, 50, False)


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


def build():
    data = Digits()
    loader, validation = data.train_dataloader(), data.val_dataloader()
    return Fit(Classifier(), loader, step_loss, validation, 10, trainer={"max_epochs": 12}, data=data)


def measure(parts):
    unseen = evaluate(parts.model, batches(digits(300)[1], 128, False), error_rate)
    return unseen - evaluate(parts.model, parts.validation, error_rate)
