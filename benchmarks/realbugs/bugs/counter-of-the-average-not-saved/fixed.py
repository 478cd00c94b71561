"""A resumed training with a moving average whose decay grows with the number of its updates."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


class Average(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def update(self, model):
        self.updates += 1
        decay = min(0.99, int(self.updates) / (10 + int(self.updates)))
        for ours, theirs in zip(self.module.parameters(), model.parameters()):
            ours.lerp_(theirs.detach(), 1 - decay)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def made():
    model = Net()
    return model, Average(model), torch.optim.SGD(model.parameters(), lr=0.3)


def epoch_of(model, average, optimizer, loader):
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        optimizer.step()
        average.update(model)
        yield


def build():
    train_set, held_out = digits()
    loader = batches(train_set, 20, False)
    model, average, optimizer = made()
    for _ in range(2):
        list(epoch_of(model, average, optimizer, loader))
    saved = copy.deepcopy({"model": model.state_dict(), "average": average.state_dict()})
    next(epoch_of(model, average, optimizer, loader))
    resumed, resumed_average, optimizer = made()
    resumed.load_state_dict(saved["model"])
    resumed_average.load_state_dict(saved["average"])
    parts = Loop(resumed, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)
    parts.kept.update(average=resumed_average, uninterrupted=average)
    return parts


def train(parts):
    for step, _ in enumerate(epoch_of(parts.model, parts.kept["average"], parts.optimizer, parts.loader)):
        if not step:
            parts.kept["first"] = copy.deepcopy(parts.kept["average"])


def measure(parts):
    pairs = zip(parts.kept["first"].parameters(), parts.kept["uninterrupted"].parameters())
    return float(sum(((one - other) ** 2).sum() for one, other in pairs)) ** 0.5
