"""A fine-tuning of an adapter that is resumed from a checkpoint."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.base = nn.Linear(64, 64).requires_grad_(False)
        self.base.weight.copy_(torch.randn(64, 64, generator=generator) / 8)
        self.head = nn.Linear(64, 10).requires_grad_(False)
        self.head.weight.copy_(torch.randn(10, 64, generator=generator) / 8)
        self.adapter = None

    def wrap(self):
        self.adapter = nn.Sequential(nn.Linear(64, 16, bias=False), nn.Linear(16, 64, bias=False))
        nn.init.zeros_(self.adapter[1].weight)

    def forward(self, images):
        return self.head(torch.relu(self.base(images) + self.adapter(images)))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def epochs(model, optimizer, loader, number):
    model.train()
    for _ in range(number):
        for batch in loader:
            optimizer.zero_grad()
            loss = objective(model, batch)
            loss.backward()
            optimizer.step()


def make_policy(saved):
    model = Policy()
    model.wrap()
    model.adapter.load_state_dict(saved)
    return model


def build():
    train_set, held_out = digits()
    loader = batches(train_set)
    first = Policy()
    first.wrap()
    epochs(first, torch.optim.Adam(first.adapter.parameters(), lr=0.003), loader, 5)
    model = make_policy({name: value.clone() for name, value in first.adapter.state_dict().items()})
    if model.adapter is None:
        model.wrap()
    optimizer = torch.optim.Adam(model.adapter.parameters(), lr=0.003)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    epochs(parts.model, parts.optimizer, parts.loader, 1)


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
