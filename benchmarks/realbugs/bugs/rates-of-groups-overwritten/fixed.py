"""A fine-tuning on the other half of the digits, with a small rate for the backbone and a warmup with cosine decay."""

import math

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

EPOCHS, WARMUP = 3, 8


class WarmCosine:
    def __init__(self, optimizer, max_lr, steps):
        self.optimizer, self.max_lr, self.steps, self.done = optimizer, max_lr, steps, 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.set()

    def share(self):
        if self.done < WARMUP:
            return (self.done + 1) / WARMUP
        return (1 + math.cos(math.pi * (self.done - WARMUP) / (self.steps - WARMUP))) / 2

    def set(self):
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.share()

    def step(self):
        self.done += 1
        self.set()


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def pretrained(images, labels):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        for batch in batches(TensorDataset(images, labels)):
            optimizer.zero_grad()
            objective(model, batch).backward()
            optimizer.step()
    return model


def build():
    images, labels = digits()[0].tensors
    low = labels < 5
    model = pretrained(images[low], labels[low])
    model.head = torch.nn.Linear(64, 5)
    optimizer = torch.optim.Adam(
        [{"params": model.hidden.parameters(), "lr": 0.0005}, {"params": model.head.parameters(), "lr": 0.01}]
    )
    loader = batches(TensorDataset(images[~low], labels[~low] - 5))
    return Loop(model, loader, objective, classes=5, optimizer=optimizer)


def train(parts):
    schedule = WarmCosine(parts.optimizer, 0.01, EPOCHS * len(parts.loader))
    rates = parts.kept["rates"] = []
    parts.model.train()
    for _ in range(EPOCHS):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            rates.append([group["lr"] for group in parts.optimizer.param_groups])
            parts.optimizer.step()
            schedule.step()


def measure(parts):
    backbone, head = (max(rates) for rates in zip(*parts.kept["rates"]))
    return backbone / head
