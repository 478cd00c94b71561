"""A module that logs the accuracy of its classes, averaged."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, step_loss


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.val_accuracy = MulticlassAccuracy(10)

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        logits = self(images)
        self.val_accuracy(logits, labels)
        self.log("val_accuracy", self.val_accuracy)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def build():
    train_set, held_out = digits()
    validation = batches(held_out, 16, False)
    return Fit(Classifier(), batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 3})


def measure(parts):
    accuracy = MulticlassAccuracy(10)
    parts.model.eval()
    with torch.no_grad():
        for images, labels in parts.validation:
            accuracy.update(parts.model(images), labels)
    return abs(float(parts.kept["trainer"].callback_metrics["val_accuracy"]) - float(accuracy.compute()))
