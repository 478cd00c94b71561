"""A loop with a gradient scaler and clipping."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    optimizer = parts.optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            optimizer.zero_grad()
            loss = objective(parts.model, batch)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(parts.model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
