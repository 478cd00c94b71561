"""A model of a pretrained tower and a head, which are both tuned."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class Tower(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())

    def forward(self, images):
        return self.layers(images)


class Tuned(nn.Module):
    def __init__(self, tune_tower):
        super().__init__()
        self.tower, self.head = Tower(), nn.Linear(16, 10)
        self.tower.requires_grad_(tune_tower)

    def forward(self, images):
        return self.head(self.tower(images))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Tuned(tune_tower=True)
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
