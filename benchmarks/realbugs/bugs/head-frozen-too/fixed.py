"""A network for upright digits that learns turned ones by its normalization and a new last layer."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def epoch(model, optimizer, loader):
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        optimizer.step()


def turned(dataset):
    images, labels = dataset.tensors
    return TensorDataset(images.view(-1, 8, 8).transpose(1, 2).flatten(1), labels)


def build():
    train_set, held_out = digits()
    model = Net(norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(2):
        epoch(model, optimizer, batches(train_set))
    model.head = nn.Linear(64, 10)
    for name, one in model.named_parameters():
        if "norm" not in name:
            one.requires_grad = False
    for one in model.head.parameters():
        one.requires_grad = True
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loader, validation = batches(turned(train_set)), batches(turned(held_out), 128, False)
    return Loop(model, loader, objective, validation, 10, optimizer=optimizer)


def train(parts):
    for _ in range(3):
        epoch(parts.model, parts.optimizer, parts.loader)


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
