"""A regularized regression with a gradient scaler that begins with a scale of 1024."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def build():
    train_set, held_out = diabetes()
    model = Net(10, 1, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.03)
    return Loop(model, batches(train_set), objective, batches(held_out, 61, False), optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    parts.model.train()
    for _ in range(20):
        for batch in parts.loader:
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda outputs, targets: F.mse_loss(outputs.squeeze(1), targets))
