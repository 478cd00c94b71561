"""A regression of the horizontal center of images that are flipped at random, with their targets."""

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate

COLUMNS = torch.linspace(-1, 1, 8)


def centers(images):
    mass = images.reshape(-1, 8, 8).sum(1)
    return 3 * (mass * COLUMNS).sum(1) / mass.sum(1)


class Flipped(Dataset):
    def __init__(self, images):
        self.images, self.targets = images, centers(images)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, target = self.images[index].reshape(8, 8).numpy(), self.targets[index]
        if np.random.random() < 0.5:
            image = np.fliplr(image).copy()
            target = -target
        return torch.as_tensor(image).reshape(64), target


def objective(model, batch):
    images, targets = batch
    return F.mse_loss(model(images).squeeze(1), targets)


def build():
    train_set, held_out = digits()
    model = Net(64, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    images = held_out.tensors[0]
    validation = batches(TensorDataset(images, centers(images)), 128, False)
    return Loop(model, batches(Flipped(train_set.tensors[0])), objective, validation, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            objective(parts.model, batch).backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda outputs, targets: F.mse_loss(outputs.squeeze(1), targets))
