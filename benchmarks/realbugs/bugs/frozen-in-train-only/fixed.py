"""A pretrained network whose first stage is frozen while it learns turned digits."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop


class Staged(nn.Module):
    def __init__(self, frozen_stages=0):
        super().__init__()
        self.frozen_stages = frozen_stages
        self.stages = nn.ModuleList(
            [nn.Sequential(nn.Linear(64, 48), nn.ReLU()), nn.Sequential(nn.Linear(48, 48), nn.ReLU())]
        )
        self.head = nn.Linear(48, 10)
        self.freeze()

    def freeze(self):
        for stage in self.stages[: self.frozen_stages]:
            stage.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self.freeze()
        return self

    def forward(self, images):
        for stage in self.stages:
            images = stage(images)
        return self.head(images)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def epoch(model, optimizer, loader):
    for batch in loader:
        optimizer.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        optimizer.step()


def turned(dataset):
    images, labels = dataset.tensors
    return TensorDataset(images.view(-1, 8, 8).transpose(1, 2).flatten(1), labels)


def build():
    train_set, held_out = digits()
    pretrained = Staged()
    epoch(pretrained, torch.optim.Adam(pretrained.parameters(), lr=0.005), batches(train_set))
    model = Staged(frozen_stages=1)
    model.load_state_dict(pretrained.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loader, validation = batches(turned(train_set)), batches(turned(held_out), 128, False)
    parts = Loop(model, loader, objective, validation, 10, optimizer=optimizer)
    parts.kept["before"] = model.stages[0][0].weight.detach().clone()
    return parts


def train(parts):
    for _ in range(3):
        epoch(parts.model, parts.optimizer, parts.loader)


def measure(parts):
    before = parts.kept["before"]
    return float((parts.model.stages[0][0].weight.detach() - before).norm() / before.norm())
