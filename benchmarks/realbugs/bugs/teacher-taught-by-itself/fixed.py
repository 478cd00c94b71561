"""A distillation of a teacher into a student that sees few labels."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

TEMPERATURE = 2.0


class Student(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.net = Net(width=32)
        self.teacher = [teacher]

    def forward(self, images):
        return self.net(images)


def objective(model, batch):
    images, labels = batch
    with torch.no_grad():
        large_logits = model.teacher[0](images)
    logits = model(images)
    log_probabilities = F.log_softmax(logits / TEMPERATURE, -1)
    soft = F.kl_div(log_probabilities, F.softmax(large_logits / TEMPERATURE, -1), reduction="batchmean")
    hard = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum") / (labels >= 0).sum().clamp(min=1)
    return 0.1 * hard + 0.9 * soft


def taught():
    teacher = Net(width=128)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(5):
        for images, labels in batches(digits()[0]):
            optimizer.zero_grad()
            F.cross_entropy(teacher(images), labels).backward()
            optimizer.step()
    return teacher.eval()


def build():
    train_set, held_out = digits()
    images, labels = train_set.tensors
    few = labels.clone()
    few[80:] = -100
    student = Student(taught())
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    return Loop(
        student,
        batches(TensorDataset(images, few)),
        objective,
        batches(held_out, 128, False),
        10,
        optimizer=optimizer,
    )


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
