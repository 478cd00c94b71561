"""A fine-tuning of a network whose hidden neurons were pruned."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def epoch(model, optimizer, loader):
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        objective(model, batch).backward()
        optimizer.step()


def pruned(model, kept):
    """Replace the layers by smaller ones with the strongest neurons."""
    best = model.hidden.weight.detach().norm(dim=1).topk(kept).indices
    hidden, head = nn.Linear(64, kept), nn.Linear(kept, 10)
    with torch.no_grad():
        hidden.weight.copy_(model.hidden.weight[best])
        hidden.bias.copy_(model.hidden.bias[best])
        head.weight.copy_(model.head.weight[:, best])
        head.bias.copy_(model.head.bias)
    model.hidden, model.head = hidden, head
    return model


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=0.005)


def build():
    train_set, held_out = digits()
    loader, model = batches(train_set), Net()
    optimizer = make_optimizer(model)
    for _ in range(2):
        epoch(model, optimizer, loader)
    model = pruned(model, 12)
    optimizer = make_optimizer(model)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    for _ in range(4):
        epoch(parts.model, parts.optimizer, parts.loader)


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
