"""A loop that validates every eight steps."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net(dropout=0.4, norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def validate(parts):
    parts.model.eval()
    with torch.no_grad():
        return sum(float(objective(parts.model, batch)) for batch in parts.validation) / len(parts.validation)


def train(parts):
    modes = parts.kept["modes"] = []
    for _ in range(3):
        parts.model.train()
        for index, batch in enumerate(parts.loader):
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            modes.append(parts.model.training)
            if index % 8 == 7:
                validate(parts)
                parts.model.train()


def measure(parts):
    return 1 - sum(parts.kept["modes"]) / len(parts.kept["modes"])
