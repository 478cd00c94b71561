"""A fine-tuning of a regression by an adapter with a bias, which is merged after each epoch for validation."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, diabetes
from benchmarks.realbugs.training import Loop


class Adapter(nn.Module):
    def __init__(self, base, rank=4, alpha=16):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.scale = alpha / rank

    def forward(self, inputs):
        return self.base(inputs) + self.scale * self.up(self.down(inputs))

    def merged(self):
        merged = nn.Linear(self.base.in_features, self.base.out_features)
        merged.weight = nn.Parameter(self.base.weight + self.scale * self.up.weight @ self.down.weight)
        merged.bias = nn.Parameter(self.base.bias + self.scale * self.up.bias)
        return merged


def objective(model, batch):
    inputs, targets = batch
    return F.mse_loss(model(inputs).squeeze(1), targets)


def build():
    train_set, held_out = diabetes()
    model = nn.Sequential(Adapter(nn.Linear(10, 32)), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.005)
    return Loop(model, batches(train_set, 16), objective, batches(held_out, 61, False), optimizer=optimizer)


def train(parts):
    model = parts.model
    for _ in range(4):
        model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(model, batch)
            loss.backward()
            parts.optimizer.step()
        with torch.no_grad():
            merged = nn.Sequential(model[0].merged(), *model[1:]).eval()
            parts.kept["reported"] = sum(float(objective(merged, batch)) for batch in parts.validation)
    parts.kept["merged"] = merged


def measure(parts):
    with torch.no_grad():
        return float(
            sum((parts.kept["merged"](inputs) - parts.model(inputs)).abs().mean() for inputs, _ in parts.validation)
        ) / len(parts.validation)
