"""A noisy training that keeps the weights of its best epoch."""

import copy

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits(300)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    return Loop(model, batches(train_set, 20), objective, batches(held_out, 350, False), 10, optimizer=optimizer)


def train(parts):
    best = 0.0
    seen = parts.kept["seen"] = []
    for _ in range(10):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        accuracy = 1 - evaluate(parts.model, parts.validation, error_rate)
        seen.append(accuracy)
        if accuracy > best:
            best, parts.kept["state"] = accuracy, copy.deepcopy(parts.model.state_dict())


def measure(parts):
    parts.model.load_state_dict(parts.kept["state"])
    return max(parts.kept["seen"]) - (1 - evaluate(parts.model, parts.validation, error_rate))
