"""A model of the next value, trained on windows of many short series."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate

PAST, LENGTH = 4, 8


def series(dataset):
    """Return for each image, as a series, the center of the ink in its rows."""
    rows = dataset.tensors[0].reshape(-1, LENGTH, 8)
    return 3 * (rows * torch.linspace(-1, 1, 8)).sum(2) / rows.sum(2).clamp(min=0.1)


def windows(values):
    rows = values.unfold(-1, PAST + 1, 1).reshape(-1, PAST + 1)
    return TensorDataset(rows[:, :-1], rows[:, -1])


def objective(model, batch):
    past, following = batch
    return F.mse_loss(model(past).squeeze(1), following)


def build():
    train_set, held_out = digits(400)
    train_series = series(train_set)
    model = Net(PAST, 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    validation = batches(windows(series(held_out)), 500, False)
    return Loop(model, batches(windows(train_series)), objective, validation, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(2):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda found, true: F.mse_loss(found.squeeze(1), true))
