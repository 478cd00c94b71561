"""A loop whose learning rate falls when the loss of an epoch does not."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net(dropout=0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Loop(model, batches(train_set, 16), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(parts.optimizer, factor=0.5, patience=0)
    parts.kept["gaps"] = []
    for _ in range(8):
        parts.model.train()
        running_loss, true = [], []
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            running_loss.append(loss.item())
            true.append(loss.item())
        epoch_loss = sum(running_loss) / len(running_loss)
        schedule.step(epoch_loss)
        parts.kept["gaps"].append(abs(epoch_loss - sum(true) / len(true)))


def measure(parts):
    return sum(parts.kept["gaps"]) / len(parts.kept["gaps"])
