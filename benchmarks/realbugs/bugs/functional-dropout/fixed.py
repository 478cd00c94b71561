"""A network with dropout as a function."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        hidden = F.dropout(torch.relu(self.hidden(images)), p=0.5, training=self.training)
        return self.head(hidden)


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Perceptron()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    for _ in range(4):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.model.eval()
        with torch.no_grad():
            parts.kept["loss"] = sum(float(objective(parts.model, batch)) for batch in parts.validation)


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
