"""A dataset in memory whose images are moved, with pixels dropped, each time they are read."""

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


class Augmented(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images.numpy().copy(), labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index].copy()
        rows = image.reshape(8, 8)
        rows[:] = np.roll(rows, np.random.randint(-1, 2), axis=1)
        image[np.random.randint(0, 64, 6)] = 0
        return torch.from_numpy(image), self.labels[index]


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits(400)
    model = Net(width=128)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loader = batches(Augmented(*train_set.tensors))
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(25):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
