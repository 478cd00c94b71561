"""A loop that accumulates six batches, across the ends of epochs."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

ACCUMULATED = 6
EPOCHS = 6


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set, 29), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    parts.model.train()
    pending = used = 0
    for _ in range(EPOCHS):
        for batch in parts.loader:
            pending += 1
            (objective(parts.model, batch) / ACCUMULATED).backward()
            if pending == ACCUMULATED:
                optimizer.step()
                optimizer.zero_grad()
                used += pending
                pending = 0
    parts.kept["used"] = used + pending


def measure(parts):
    return 1 - parts.kept["used"] / (EPOCHS * len(parts.loader))
