"""A sampler that draws all classes of an unbalanced set equally often."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset, WeightedRandomSampler

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def unbalanced(dataset):
    images, labels = dataset.tensors
    kept = (labels < 5) | (torch.arange(len(labels)) % 4 == 0)
    return TensorDataset(images[kept], labels[kept])


def balancing(labels):
    per_class = 1 / torch.bincount(labels).double()
    return WeightedRandomSampler(per_class[labels], len(labels))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    train_set = unbalanced(train_set)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loader = batches(train_set, 32, False, sampler=balancing(train_set.tensors[1]))
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
