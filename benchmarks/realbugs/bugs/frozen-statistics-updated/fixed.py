"""A fine-tuning of a new head on a frozen backbone, with images of another brightness."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Fit, error_rate, evaluate, step_loss


def pretrained():
    backbone = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    head = nn.Linear(64, 10)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=0.01)
    for _ in range(3):
        for images, labels in batches(digits()[0]):
            optimizer.zero_grad()
            F.cross_entropy(head(backbone(images)), labels).backward()
            optimizer.step()
    return backbone, head


class HeadTuned(pl.LightningModule):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(self.backbone(images))

    def on_train_epoch_start(self):
        self.backbone.eval()

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), lr=0.01)


def build():
    backbone, head = pretrained()
    images, labels = digits()[0].tensors
    loader = batches(TensorDataset(1.5 - images, labels))
    parts = Fit(HeadTuned(backbone), loader, step_loss, classes=10, trainer={"max_epochs": 3})
    parts.kept["first"] = nn.Sequential(backbone, head)
    return parts


def measure(parts):
    return evaluate(parts.kept["first"], batches(digits()[1], 128, False), error_rate)
