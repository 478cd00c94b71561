"""A classifier of classes whose identifiers are mapped to other numbers."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

NUMBERS = torch.tensor([3, 0, 7, 1, 9, 2, 8, 5, 4, 6])


def mapped(dataset):
    images, labels = dataset.tensors
    labels = labels.clone()
    found = labels.clone()
    for identifier, number in enumerate(NUMBERS):
        found[labels == identifier] = number
    return TensorDataset(images, found)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    validation = batches(mapped(held_out), 128, False)
    return Loop(model, batches(mapped(train_set)), objective, validation, 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    images, labels = digits()[1].tensors
    return evaluate(parts.model, [(images, NUMBERS[labels])], error_rate)
