"""A loop that lowers the learning rate when the validation accuracy no longer rises."""

import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

RATE = 0.02


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    return Loop(model, batches(train_set), objective, batches(held_out, 350, False), 10, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    scheduler = ReduceLROnPlateau(optimizer, mode="max", factor=0.2, patience=1)
    for _ in range(7):
        parts.model.train()
        for batch in parts.loader:
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            optimizer.step()
            parts.kept["rate"] = optimizer.param_groups[0]["lr"]
        accuracy = 1 - evaluate(parts.model, parts.validation, error_rate)
        scheduler.step(accuracy)


def measure(parts):
    return 1 - parts.kept["rate"] / RATE
