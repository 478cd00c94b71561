"""A module that separates two classes, whatever their labels are."""

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches
from benchmarks.realbugs.tables import tumors
from benchmarks.realbugs.training import Fit, step_loss

MALIGNANT, BENIGN = 1, 2


class Binary(pl.LightningModule):
    def __init__(self, classes):
        super().__init__()
        self.net = Net(30, 1, 32)
        self.classes = classes

    def forward(self, values):
        return self.net(values).squeeze(1)

    def training_step(self, batch, batch_idx):
        values, targets = batch
        loss = F.binary_cross_entropy_with_logits(self(values), targets)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        values, targets = batch
        self.log("val_loss", F.binary_cross_entropy_with_logits(self(values), targets))

    def predict(self, values):
        return self.classes[(self(values) > 0).long().numpy()]

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.005)


def encoded(dataset, classes):
    values, kinds = dataset.tensors
    labels = np.where(kinds.numpy() == 1, BENIGN, MALIGNANT)
    targets = np.searchsorted(classes, labels)
    return TensorDataset(values, torch.tensor(targets, dtype=torch.float32))


def build():
    train_set, held_out = tumors()
    classes = np.array([MALIGNANT, BENIGN])
    validation = batches(encoded(held_out, classes), 169, False)
    return Fit(Binary(classes), batches(encoded(train_set, classes)), step_loss, validation, trainer={"max_epochs": 6})


def measure(parts):
    values, kinds = tumors()[1].tensors
    parts.model.eval()
    with torch.no_grad():
        found = parts.model.predict(values)
    return float((found != np.where(kinds.numpy() == 1, BENIGN, MALIGNANT)).mean())
