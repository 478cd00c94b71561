"""A fine-tuning of low-rank adapters on digits that are turned by a quarter."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class Adapter(nn.Module):
    def __init__(self, base, rank=8, alpha=16):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank

    def forward(self, inputs):
        return self.base(inputs) + self.scale * self.up(self.down(inputs))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def fit(model, optimizer, loader, epochs):
    model.train()
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss = objective(model, batch)
            loss.backward()
            optimizer.step()


def turned(dataset):
    images, labels = dataset.tensors
    return TensorDataset(images.view(-1, 8, 8).rot90(1, (1, 2)).reshape(-1, 64), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    fit(model, torch.optim.Adam(model.parameters(), lr=0.01), batches(train_set), 2)
    model.requires_grad_(False)
    model.hidden, model.head = Adapter(model.hidden), Adapter(model.head)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.03)
    loader, validation = batches(turned(train_set)), batches(turned(held_out), 128, False)
    return Loop(model, loader, objective, validation, 10, optimizer=optimizer)


def train(parts):
    fit(parts.model, parts.optimizer, parts.loader, 3)


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
