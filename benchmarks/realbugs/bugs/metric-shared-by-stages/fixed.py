"""A module with an accuracy for training and one for validation."""

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
        self.accuracy = MulticlassAccuracy(10, average="micro")
        self.val_accuracy = MulticlassAccuracy(10, average="micro")
        self.right = []

    def forward(self, images):
        return self.net(images)

    def on_train_epoch_start(self):
        self.right = []

    def training_step(self, batch, batch_idx):
        images, labels = batch
        logits = self(images)
        self.right += (logits.argmax(1) == labels).tolist()
        self.accuracy.update(logits, labels)
        return F.cross_entropy(logits, labels)

    def on_train_epoch_end(self):
        self.log("train_accuracy", self.accuracy.compute())
        self.accuracy.reset()

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.val_accuracy.update(self(images), labels)

    def on_validation_epoch_end(self):
        self.log("val_accuracy", self.val_accuracy.compute())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def build():
    train_set, held_out = digits()
    validation = batches(held_out, 128, False)
    trainer = {"max_epochs": 1, "num_sanity_val_steps": 0}
    return Fit(Classifier(), batches(train_set), step_loss, validation, 10, trainer=trainer)


def measure(parts):
    right = parts.model.right
    return abs(float(parts.kept["trainer"].callback_metrics["train_accuracy"]) - sum(right) / len(right))
