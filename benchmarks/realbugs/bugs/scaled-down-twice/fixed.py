"""A classifier of images of bytes, with a normalization that expects values up to 255."""

import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

MEAN, STD, LARGEST = 0.3, 0.37, 255.0


class Images(Dataset):
    def __init__(self, dataset):
        images, self.labels = dataset.tensors
        self.images = (images * LARGEST).byte()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index].float()
        return (image - MEAN * LARGEST) / (STD * LARGEST), self.labels[index]


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net(norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    validation = batches(Images(held_out), 128, False)
    return Loop(model, batches(Images(train_set)), objective, validation, 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(4):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
