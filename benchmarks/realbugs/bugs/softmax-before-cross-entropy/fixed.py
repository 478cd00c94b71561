"""A logistic regression with the loss on its logits."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Fit, evaluate, step_loss


class LogisticRegression(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images):
        return self.linear(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = F.nll_loss(F.log_softmax(self(images), dim=1), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.nll_loss(F.log_softmax(self(images), dim=1), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def build():
    train_set, held_out = digits()
    validation = batches(held_out, 128, False)
    return Fit(LogisticRegression(), batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 5})


def measure(parts):
    def loss(outputs, labels):
        return F.nll_loss(F.log_softmax(outputs, dim=1), labels)

    return evaluate(parts.model, parts.validation, loss)
