"""A student that learns the direction of a teacher's embedding of each row of an image."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop

WIDTH = 16


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, WIDTH))
        teacher = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, WIDTH))
        for parameter in teacher.parameters():
            nn.init.normal_(parameter, std=0.7).requires_grad_(False)
        self.teacher = [teacher]

    def forward(self, images):
        return self.net(images.reshape(-1, 8, 8))


def objective(model, batch):
    rows = batch[0].reshape(-1, 8, 8)
    return 1 - F.cosine_similarity(model(rows), model.teacher[0](rows), dim=-1).mean()


def build():
    train_set, held_out = digits(600)
    model = Student()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    rows = digits()[1].tensors[0].reshape(-1, 8, 8)
    with torch.no_grad():
        return 1 - float(F.cosine_similarity(parts.model(rows), parts.model.teacher[0](rows), dim=-1).mean())
