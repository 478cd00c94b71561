"""A loop that accumulates the gradients of four batches for each step."""

from itertools import islice

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

ACCUMULATED = 4


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Loop(model, batches(train_set, 16), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    parts.model.train()
    for _ in range(4):
        stream = iter(parts.loader)
        while group := list(islice(stream, ACCUMULATED)):
            optimizer.zero_grad()
            for batch in group:
                loss = objective(parts.model, batch) / len(group)
                loss.backward()
            optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
