"""A recurrent classifier that reads an image row by row."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.recur = nn.LSTM(8, 32, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        states, _ = self.recur(images.reshape(-1, 8, 8))
        return self.head(states[:, -1])


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
