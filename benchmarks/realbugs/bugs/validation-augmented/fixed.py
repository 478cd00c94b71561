"""A loop that augments its training set and reports the error of a validation set."""

import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


class Images(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return (self.transform(image) if self.transform else image), self.labels[index]


def train_transform(image):
    return image + 0.5 * torch.randn_like(image)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    validation_transform = None
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    validation = batches(Images(*held_out.tensors, validation_transform), 128, False)
    return Loop(
        model, batches(Images(*train_set.tensors, train_transform)), objective, validation, 10, optimizer=optimizer
    )


def train(parts):
    for _ in range(4):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            objective(parts.model, batch).backward()
            parts.optimizer.step()
        parts.model.eval()
        wrong = count = 0
        with torch.no_grad():
            for images, labels in parts.validation:
                wrong += int((parts.model(images).argmax(1) != labels).sum())
                count += len(labels)
        parts.kept["reported"] = wrong / count


def measure(parts):
    return parts.kept["reported"] - evaluate(parts.model, batches(digits()[1], 128, False), error_rate)
