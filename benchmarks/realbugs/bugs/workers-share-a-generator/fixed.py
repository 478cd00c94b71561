"""A dataset that adds noise, from a generator of its own in each worker and epoch."""

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


class Noisy(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        self.generator = None

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if self.generator is None:
            self.generator = np.random.RandomState(torch.initial_seed() % 2**32)
        noise = self.generator.standard_normal(64).astype("float32")
        return self.images[index] + 0.3 * noise, self.labels[index]


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits(256)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = batches(Noisy(*train_set.tensors), 32, num_workers=2)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            objective(parts.model, batch).backward()
            parts.optimizer.step()


def measure(parts):
    empty = torch.zeros(128, 64)
    loader = batches(Noisy(empty, torch.zeros(128)), 32, num_workers=2)
    loader.dataset.generator = parts.loader.dataset.generator
    drawn = [tuple(row[:4].tolist()) for _ in range(2) for images, _ in loader for row in images]
    return 1 - len(set(drawn)) / len(drawn)
