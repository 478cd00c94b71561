"""A loop of many short epochs."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.95)


def build():
    train_set, held_out = digits(400)
    model = Net()
    loader = batches(train_set, 100)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=make_optimizer(model))


def train(parts):
    for _ in range(20):
        train_epoch(parts)


def train_epoch(parts):
    parts.model.train()
    optimizer = parts.optimizer
    for batch in parts.loader:
        optimizer.zero_grad()
        loss = objective(parts.model, batch)
        loss.backward()
        optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
