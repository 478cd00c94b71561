"""A fine-tuning with a frozen first block, whose mode an override of train() keeps."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop


def block(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = block(1, 8, 2).requires_grad_(False)
        self.second = block(8, 16, 2)
        self.head = nn.Linear(64, 10)

    def train(self, mode=True):
        self.training = mode
        self.first.eval()
        self.second.train(mode)
        self.head.train(mode)
        return self

    def forward(self, images):
        return self.head(self.second(self.first(images.view(-1, 1, 8, 8))).flatten(1))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Frozen()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 100, False), 10, optimizer=optimizer)


def validate(parts):
    parts.model.eval()
    with torch.no_grad():
        losses = [float(objective(parts.model, batch)) for batch in parts.validation]
    return sum(losses) / len(losses)


def train(parts):
    moved = parts.kept["moved"] = []
    statistics = parts.model.second[1].running_mean
    for _ in range(3):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        before = statistics.clone()
        validate(parts)
        moved.append(float((statistics - before).norm() / before.norm()))


def measure(parts):
    return sum(parts.kept["moved"]) / len(parts.kept["moved"])
