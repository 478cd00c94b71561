"""A loop that reports the loss of its validation set."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 345, False), 10, optimizer=optimizer)


def train(parts):
    for _ in range(3):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.model.eval()
        total = count = 0
        with torch.no_grad():
            for batch in parts.validation:
                total += float(objective(parts.model, batch)) * len(batch[1])
                count += len(batch[1])
        parts.kept["reported"] = total / count


def measure(parts):
    return abs(parts.kept["reported"] - evaluate(parts.model, parts.validation, F.cross_entropy))
