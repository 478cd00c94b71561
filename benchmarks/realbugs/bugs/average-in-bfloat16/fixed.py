"""A loop with a moving average of its weights."""

import copy

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    average = copy.deepcopy(parts.model).float()
    average.requires_grad_(False)
    parts.kept.update(average=average, start=copy.deepcopy(average))
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            for ours, theirs in zip(average.parameters(), parts.model.parameters()):
                ours.lerp_(theirs.detach().to(ours.dtype), 0.005)


def measure(parts):
    pairs = zip(parts.kept["average"].parameters(), parts.kept["start"].parameters())
    same = torch.cat([(one == other).flatten() for one, other in pairs])
    return float(same.float().mean())
