"""A regression with accumulated gradients and a cosine decay that is reckoned in updates."""

import math

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop

ACCUMULATED = 4
EPOCHS = 8
RATE = 0.01


class Cosine:
    def __init__(self, optimizer, updates):
        self.optimizer, self.updates, self.done = optimizer, updates, 0

    def step(self):
        self.done = min(self.done + 1, self.updates)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * self.done / self.updates)) / 2


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def build():
    train_set, held_out = diabetes()
    model = Net(10, 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    return Loop(model, batches(train_set, 8), objective, batches(held_out, 61, False), optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    schedule = Cosine(optimizer, EPOCHS * len(parts.loader) // ACCUMULATED)
    rates = parts.kept["rates"] = []
    parts.model.train()
    optimizer.zero_grad()
    for _ in range(EPOCHS):
        for number, batch in enumerate(parts.loader, 1):
            loss = objective(parts.model, batch) / ACCUMULATED
            loss.backward()
            if number % ACCUMULATED == 0:
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()


def measure(parts):
    rates = parts.kept["rates"]
    return sum(rate < RATE / 100 for rate in rates) / len(rates)
