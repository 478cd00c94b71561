"""A loop that clears the gradients in each step."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
