"""A loop that averages its model, statistics and all."""

import copy

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(3 * images), labels)


@torch.no_grad()
def update(average, model, decay=0.9):
    for ours, theirs in zip(average.parameters(), model.parameters()):
        ours.lerp_(theirs, 1 - decay)
    for ours, theirs in zip(average.buffers(), model.buffers()):
        ours.copy_(theirs)


def build():
    train_set, held_out = digits()
    model = Net(norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    parts = Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)
    parts.kept["average"] = copy.deepcopy(model).requires_grad_(False)
    return parts


def train(parts):
    parts.model.train()
    for _ in range(4):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            update(parts.kept["average"], parts.model)


def measure(parts):
    tripled = [(3 * images, labels) for images, labels in parts.validation]
    return evaluate(parts.kept["average"], tripled, error_rate)
