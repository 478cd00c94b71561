"""A loop that freezes the first layer halfway and goes on with the head, while the rate decays by epochs."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

EPOCHS, FROZEN_FROM, DECAYS_AFTER = 6, 3, 4


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def optimizers(module, done=0):
    optimizer = torch.optim.Adam(module.parameters(), lr=0.005)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: 0.1 if done + epoch >= DECAYS_AFTER else 1.0
    )


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer, scheduler = optimizers(model)
    parts = Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)
    parts.kept["scheduler"] = scheduler
    return parts


def train(parts):
    scheduler = parts.kept["scheduler"]
    rates = parts.kept["rates"] = []
    parts.model.train()
    for epoch in range(EPOCHS):
        if epoch == FROZEN_FROM:
            parts.model.hidden.requires_grad_(False)
            parts.optimizer, scheduler = optimizers(parts.model.head, epoch)
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            rates.append(parts.optimizer.param_groups[0]["lr"])
            parts.optimizer.step()
        scheduler.step()


def measure(parts):
    return parts.kept["rates"][-1] / parts.kept["rates"][0]
