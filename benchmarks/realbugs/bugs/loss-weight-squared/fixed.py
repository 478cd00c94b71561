"""A module that learns classes and, with a weight, centers of images."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Fit, step_loss


def true_center(images):
    mass = images.reshape(-1, 8, 8).sum(1)
    return 4 * (mass * torch.linspace(-1, 1, 8)).sum(1) / mass.sum(1)


class CenterLoss(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, centers, true_centers):
        return F.mse_loss(centers, true_centers)


class Both(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net(64, 11)
        self.center_loss = CenterLoss(0.05)

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        output = self(images)
        term = self.center_loss(output[:, 10], true_center(images))
        loss = F.cross_entropy(output[:, :10], labels) + self.center_loss.weight * term
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        output = self(images)
        self.log("val_loss", F.cross_entropy(output[:, :10], labels))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def build():
    train_set, held_out = digits()
    validation = batches(held_out, 128, False)
    return Fit(Both(), batches(train_set), step_loss, validation, 10, trainer={"max_epochs": 3})


def measure(parts):
    images = digits()[1].tensors[0]
    parts.model.eval()
    with torch.no_grad():
        return float(F.mse_loss(parts.model(images)[:, 10], true_center(images)))
