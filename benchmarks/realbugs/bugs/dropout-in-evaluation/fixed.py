"""A loop that reports the error of its validation set after each epoch."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net(dropout=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    for _ in range(4):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        wrong = count = 0
        parts.model.eval()
        with torch.no_grad():
            for images, labels in parts.validation:
                wrong += int((parts.model(images).argmax(1) != labels).sum())
                count += len(labels)
        parts.kept["reported"] = wrong / count


def measure(parts):
    return parts.kept["reported"] - evaluate(parts.model, parts.validation, error_rate)
