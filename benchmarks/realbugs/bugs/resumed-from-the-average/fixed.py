"""A resumed regression that keeps a moving average of its weights."""

import copy

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def epoch_of(model, average, optimizer, loader):
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), model.parameters()):
                ours.lerp_(theirs, 0.02)


def checkpoint_of(model, average, optimizer):
    return {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def build():
    train_set, held_out = diabetes()
    loader = batches(train_set, 16)
    model = Net(10, 1, 32)
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(3):
        epoch_of(model, average, optimizer, loader)
    saved = checkpoint_of(model, average, optimizer)
    resumed, resumed_average = Net(10, 1, 32), Net(10, 1, 32)
    resumed.load_state_dict(saved["model"])
    resumed_average.load_state_dict(saved["average"])
    optimizer = torch.optim.Adam(resumed.parameters(), lr=0.005)
    optimizer.load_state_dict(saved["optimizer"])
    parts = Loop(resumed, loader, objective, batches(held_out, 61, False), optimizer=optimizer)
    with torch.no_grad():
        pairs = zip(resumed.parameters(), model.parameters())
        parts.kept["apart"] = float(sum(((one - other) ** 2).sum() for one, other in pairs)) ** 0.5
    parts.kept["average"] = resumed_average
    return parts


def train(parts):
    for _ in range(3):
        epoch_of(parts.model, parts.kept["average"], parts.optimizer, parts.loader)


def measure(parts):
    return parts.kept["apart"]
