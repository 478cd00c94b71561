"""A network whose optimizer has a learning rate for each part."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def make_optimizer(model):
    groups = []
    group = {"params": [], "lr": 0.002}
    for name, parameter in model.named_parameters():
        if "hidden" in name:
            group["params"].append(parameter)
    groups.append(group)
    group = {"params": [], "lr": 0.01}
    for name, parameter in model.named_parameters():
        if "head" in name:
            group["params"].append(parameter)
    groups.append(group)
    return torch.optim.Adam(groups)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = make_optimizer(model)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(4):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
