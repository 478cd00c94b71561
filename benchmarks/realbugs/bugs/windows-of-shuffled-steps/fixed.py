"""A model of the next value of a series, trained on windows of its first part."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate

LENGTH = 12


def series():
    images = digits()[0].tensors[0].reshape(-1, 8, 8)
    return images[:300].mean(2).flatten() * 3


def windows(values):
    rows = values.unfold(0, LENGTH + 1, 1)
    return TensorDataset(rows[:, :-1], rows[:, -1])


def parted(values):
    order = torch.arange(len(values))
    cut = len(values) * 3 // 4
    return values[order[:cut]], values[order[cut:]]


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def build():
    train_part, held_out = parted(series())
    model = Net(LENGTH, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(
        model, batches(windows(train_part)), objective, batches(windows(held_out), 128, False), optimizer=optimizer
    )


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    later = batches(windows(series()[-600:]), 128, False)
    return evaluate(parts.model, later, lambda outputs, targets: F.mse_loss(outputs.squeeze(1), targets))
