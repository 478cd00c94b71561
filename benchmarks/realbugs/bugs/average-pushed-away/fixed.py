"""A loop that saves a moving average of its weights."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class Average:
    def __init__(self, model, share=0.05):
        self.share = share
        self.model = copy.deepcopy(model).requires_grad_(False)

    def update(self, model):
        for ours, theirs in zip(self.model.parameters(), model.parameters()):
            gap = ours - theirs.detach()
            ours.sub_(gap * self.share)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images.view(-1, 1, 8, 8)), labels)


def build():
    train_set, held_out = digits()
    model = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    average = parts.kept["average"] = Average(parts.model)
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            average.update(parts.model)


def measure(parts):
    average = parts.kept["average"].model
    return evaluate(nn.Sequential(nn.Unflatten(1, (1, 8, 8)), average), parts.validation, F.cross_entropy)
