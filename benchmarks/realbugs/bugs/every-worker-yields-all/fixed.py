"""A stream of samples that its workers share."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


class Stream(IterableDataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __iter__(self):
        info = get_worker_info()
        first, every = (info.id, info.num_workers) if info else (0, 1)
        for index in range(first, len(self.images), every):
            yield self.images[index], self.labels[index]


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits(512)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(Stream(*train_set.tensors), batch_size=32, num_workers=2)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            objective(parts.model, batch).backward()
            parts.optimizer.step()


def measure(parts):
    return sum(len(labels) for _, labels in parts.loader) / 512 - 1
