"""A training on digits that is resumed in the middle of its third epoch."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

EPOCH, DONE = 2, 400


class Shuffled(Sampler):
    def __init__(self, size, epoch=0, skipped=0):
        self.size, self.epoch, self.skipped = size, epoch, skipped

    def set_epoch(self, epoch):
        self.epoch, self.skipped = epoch, 0

    def order(self):
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(self.epoch)).tolist()

    def __iter__(self):
        return iter(self.order()[self.skipped :])

    def __len__(self):
        return self.size - self.skipped


def objective(model, batch):
    images, labels = batch[:2]
    return F.cross_entropy(model(images), labels)


def step(model, optimizer, batch):
    optimizer.zero_grad()
    loss = objective(model, batch)
    loss.backward()
    optimizer.step()


def build():
    train_set = TensorDataset(*digits(800)[0].tensors, torch.arange(800))
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    sampler = Shuffled(len(train_set))
    before = DataLoader(train_set, 20, sampler=sampler)
    for epoch in range(EPOCH + 1):
        sampler.set_epoch(epoch)
        seen = []
        for batch in before:
            step(model, optimizer, batch)
            seen.extend(batch[2].tolist())
            if epoch == EPOCH and len(seen) == DONE:
                break
    sampler = Shuffled(len(train_set), epoch=EPOCH, skipped=DONE)
    loader = DataLoader(train_set, 20, sampler=sampler)
    parts = Loop(model, loader, objective, batches(digits()[1], 128, False), 10, optimizer=optimizer)
    parts.kept.update(seen=set(seen), resumed=[])
    return parts


def train(parts):
    parts.model.train()
    for epoch in range(EPOCH, EPOCH + 2):
        if epoch > EPOCH:
            parts.loader.sampler.set_epoch(epoch)
        for batch in parts.loader:
            step(parts.model, parts.optimizer, batch)
            if epoch == EPOCH:
                parts.kept["resumed"].extend(batch[2].tolist())


def measure(parts):
    resumed = parts.kept["resumed"]
    return sum(one in parts.kept["seen"] for one in resumed) / len(resumed)
