"""A distillation of a teacher into a student without labels."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

TEMPERATURE = 3.0


class Student(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.net = Net(width=32)
        self.teacher = [teacher]

    def forward(self, images):
        return self.net(images)


def objective(model, batch):
    images, _ = batch
    with torch.no_grad():
        soft = F.softmax(model.teacher[0](images) / TEMPERATURE, 1)
    student = F.log_softmax(model(images), 1)
    return F.kl_div(student, soft, reduction="batchmean")


def taught():
    teacher = Net(width=64)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(4):
        for images, labels in batches(digits()[0]):
            optimizer.zero_grad()
            F.cross_entropy(teacher(images), labels).backward()
            optimizer.step()
    return teacher.eval()


def build():
    train_set, held_out = digits()
    student = Student(taught())
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    return Loop(student, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    images = parts.validation.dataset.tensors[0]
    parts.model.eval()
    with torch.no_grad():
        soft = F.softmax(parts.model.teacher[0](images) / TEMPERATURE, 1)
        return float(F.kl_div(F.log_softmax(parts.model(images), 1), soft, reduction="batchmean"))
