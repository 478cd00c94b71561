"""A regression with a loss that is written out."""

import torch

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    inputs, targets = batch
    predicted = model(inputs).squeeze(1)
    return ((predicted - targets) ** 2).mean()


def build():
    train_set, held_out = diabetes()
    model = Net(10, 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(held_out, 61, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(8):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda outputs, targets: ((outputs[:, 0] - targets) ** 2).mean())
