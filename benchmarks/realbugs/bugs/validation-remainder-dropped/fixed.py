"""A loop that reports the error on a held-out set after each epoch."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits(600)
    model = Net(width=24)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    validation = DataLoader(held_out, batch_size=400)
    return Loop(model, batches(train_set), objective, validation, 10, optimizer=optimizer)


def train(parts):
    parts.kept["errors"] = []
    for _ in range(5):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        reported = evaluate(parts.model, parts.validation, error_rate)
        true = evaluate(parts.model, batches(digits()[1], 700, False), error_rate)
        parts.kept["errors"].append(abs(reported - true))


def measure(parts):
    return sum(parts.kept["errors"]) / len(parts.kept["errors"])
