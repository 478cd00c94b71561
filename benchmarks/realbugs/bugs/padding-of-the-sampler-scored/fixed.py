"""A regression that is validated as eight ranks would do it, and merges what they gather."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop, evaluate

RANKS = 8


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def build():
    train_set, held_out = diabetes()
    held_out = TensorDataset(*held_out[:41])
    model = Net(10, 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set, 16), objective, batches(held_out, 41, False), optimizer=optimizer)


def gathered(parts):
    inputs, targets = parts.validation.dataset.tensors
    indexed = TensorDataset(torch.arange(len(inputs)), inputs, targets)
    for rank in range(RANKS):
        sampler = DistributedSampler(indexed, RANKS, rank, shuffle=False)
        for indices, rows, wanted in DataLoader(indexed, 4, sampler=sampler):
            yield indices, (parts.model(rows).squeeze(1) - wanted) ** 2


def train(parts):
    for _ in range(4):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.model.eval()
        scores = {}
        with torch.no_grad():
            for indices, errors in gathered(parts):
                scores.update(zip(indices.tolist(), errors.tolist()))
        parts.kept["reported"] = sum(scores.values()) / len(scores)


def measure(parts):
    true = evaluate(parts.model, parts.validation, lambda outputs, targets: F.mse_loss(outputs.squeeze(1), targets))
    return abs(parts.kept["reported"] - true)
