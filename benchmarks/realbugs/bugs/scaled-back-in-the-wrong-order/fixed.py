"""A regression of values that are scaled to 0 to 1, and scaled back for the reported error."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop

LEAST, MOST = 25.0, 346.0


def scaled(dataset):
    inputs, targets = dataset.tensors
    values = (targets * 77 + 152).clamp(LEAST, MOST)
    return TensorDataset(inputs, (values - LEAST) / (MOST - LEAST))


def scaled_back(values):
    return values * (MOST - LEAST) + LEAST


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def build():
    train_set, held_out = diabetes()
    model = Net(10, 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    validation = batches(scaled(held_out), 61, False)
    return Loop(model, batches(scaled(train_set)), objective, validation, optimizer=optimizer)


def train(parts):
    for _ in range(8):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.kept["reported"] = validate(parts.model, parts.validation)


def validate(model, loader):
    """Return the mean relative error of the values."""
    model.eval()
    with torch.no_grad():
        pairs = [(scaled_back(model(inputs).squeeze(1)), scaled_back(targets)) for inputs, targets in loader]
    found, true = (torch.cat(one) for one in zip(*pairs))
    return float(((found - true).abs() / true).mean())


def measure(parts):
    inputs, targets = parts.validation.dataset.tensors
    parts.model.eval()
    with torch.no_grad():
        found = LEAST + (MOST - LEAST) * parts.model(inputs).squeeze(1)
    true = LEAST + (MOST - LEAST) * targets
    return abs(parts.kept["reported"] - float(((found - true).abs() / true).mean()))
