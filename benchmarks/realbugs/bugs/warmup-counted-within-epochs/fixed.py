"""A regression with a warmup over more than two epochs."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop

RATE = 0.01
WARMUP = 50


def set_rate(optimizer, step):
    for group in optimizer.param_groups:
        group["lr"] = RATE * min(1.0, (step + 1) / WARMUP)


def objective(model, batch):
    inputs, targets = batch
    return F.smooth_l1_loss(model(inputs).squeeze(1), targets)


def build():
    train_set, held_out = diabetes()
    model = Net(10, 1, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    return Loop(model, batches(train_set, 16), objective, batches(held_out, 61, False), optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    rates = parts.kept["rates"] = []
    parts.model.train()
    for epoch in range(5):
        for number, batch in enumerate(parts.loader):
            set_rate(optimizer, epoch * len(parts.loader) + number)
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()


def measure(parts):
    return 1 - max(parts.kept["rates"]) / RATE
