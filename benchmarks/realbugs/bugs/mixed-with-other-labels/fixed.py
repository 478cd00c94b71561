"""A training on mixtures of two images of the batch."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def mixed(images, labels):
    share = torch.distributions.Beta(0.8, 0.8).sample((len(images), 1))
    other = torch.randperm(len(images))
    targets = F.one_hot(labels, 10).float()
    images = share * images + (1 - share) * images[other]
    targets = share * targets + (1 - share) * targets[other]
    return images, targets


def objective(model, batch):
    images, targets = mixed(*batch)
    return F.cross_entropy(model(images), targets)


def build():
    train_set, held_out = digits(500)
    model = Net(width=96)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(12):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
