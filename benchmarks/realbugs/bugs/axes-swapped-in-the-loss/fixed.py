"""A segmentation of ink, whose features and labels are compared pixel by pixel."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def masks(dataset):
    images = dataset.tensors[0].reshape(-1, 1, 8, 8)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return TensorDataset(images + 0.5 * noise, (images[:, 0] > 0.4).long())


def objective(model, batch):
    images, labels = batch
    pixels = model(images).permute(0, 2, 3, 1).reshape(-1, 2)
    return F.cross_entropy(pixels, labels.flatten())


def build():
    train_set, held_out = digits(500)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    validation = batches(masks(held_out), 128, False)
    return Loop(model, batches(masks(train_set)), objective, validation, 2, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda found, labels: (found.argmax(1) != labels).float().mean())
