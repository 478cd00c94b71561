"""A loop whose learning rate is lowered twice by a function of the epoch."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop

RATE = 0.1


def adjust_rate(optimizer, epoch):
    rate = RATE
    if epoch >= 4:
        rate = RATE * 0.01
    elif epoch >= 2:
        rate = RATE * 0.1
    for group in optimizer.param_groups:
        group["lr"] = rate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images.view(-1, 1, 8, 8)), labels)


def build():
    train_set, held_out = digits()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    rates = parts.kept["rates"] = []
    parts.model.train()
    for epoch in range(6):
        adjust_rate(parts.optimizer, epoch)
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            rates.append(parts.optimizer.param_groups[0]["lr"])
            parts.optimizer.step()


def measure(parts):
    return parts.kept["rates"][-1] / parts.kept["rates"][0]
