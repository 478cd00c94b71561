"""A loop with a cosine decay by epochs."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

EPOCHS = 5


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    parts.model.train()
    for _ in range(EPOCHS):
        for batch in parts.loader:
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.kept["rate"] = optimizer.param_groups[0]["lr"]
            optimizer.step()
        scheduler.step()


def measure(parts):
    return parts.kept["rate"] / 0.01
