"""A classifier of digits with accumulated gradients that trains for a number of epochs, counted in optimizer steps."""

import math

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

EPOCHS, GROUP = 6, 4


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def planned_steps(loader):
    return EPOCHS * math.ceil(len(loader) / GROUP)


def build():
    train_set, held_out = digits(350)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set, 50), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    steps, last, seen = 0, planned_steps(parts.loader), 0
    parts.model.train()
    while steps < last:
        for at, batch in enumerate(parts.loader):
            group = min(GROUP, len(parts.loader) - (at - at % GROUP))
            loss = objective(parts.model, batch) / group
            loss.backward()
            seen += 1
            if (at + 1) % GROUP == 0 or at + 1 == len(parts.loader):
                parts.optimizer.step()
                parts.optimizer.zero_grad()
                steps += 1
                if steps == last:
                    break
    parts.kept["seen"] = seen


def measure(parts):
    return 1 - parts.kept["seen"] / (EPOCHS * len(parts.loader))
