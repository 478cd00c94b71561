"""A training in bfloat16 autocast that validates in pairs of samples."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    with torch.autocast("cpu", torch.bfloat16):
        return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 2, False), 10, optimizer=optimizer)


def accuracy(model, loader):
    hits, count = torch.zeros(()), 0
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for images, labels in loader:
            logits = model(images)
            right = (logits.argmax(-1) == labels).to(logits.dtype)
            hits += right.float().sum()
            count += len(labels)
    return float(hits) / count


def train(parts):
    for _ in range(2):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.kept["accuracy"] = accuracy(parts.model, parts.validation)


def measure(parts):
    return abs(parts.kept["accuracy"] - (1 - evaluate(parts.model, parts.validation, error_rate)))
