"""A distillation of digits in which one module holds the student and its frozen teacher."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


class Distilled(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.student = Net(width=24)
        self.targets = []

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, images):
        return self.student(images)

    def wanted(self, images):
        with torch.no_grad():
            targets = F.softmax(self.teacher(images) / 2, -1)
        self.targets.append((images, targets))
        return targets


def objective(model, batch):
    images, labels = batch
    logits = model(images)
    soft = F.cross_entropy(logits / 2, model.wanted(images))
    return soft + 0.1 * F.cross_entropy(logits, labels)


def trained_teacher():
    teacher = Net(dropout=0.5)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(3):
        for images, labels in batches(digits()[0]):
            optimizer.zero_grad()
            F.cross_entropy(teacher(images), labels).backward()
            optimizer.step()
    return teacher.eval()


def build():
    train_set, held_out = digits()
    model = Distilled(trained_teacher())
    optimizer = torch.optim.Adam(model.student.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    for _ in range(2):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    teacher = parts.model.teacher.eval()
    with torch.no_grad():
        apart = [
            (F.softmax(teacher(images) / 2, -1) - seen).abs().sum(-1).mean() for images, seen in parts.model.targets
        ]
    return float(sum(apart) / len(apart))
