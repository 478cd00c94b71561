"""A fine-tuning of a gated network by adapters at the layers that a list names."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop

TARGETS = [
    "gate",
    "up",
    "down",
]


class Gated(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.gate = nn.Linear(64, width)
        self.up = nn.Linear(64, width)
        self.down = nn.Linear(width, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(images + self.down(F.silu(self.gate(images)) * self.up(images)))


class Adapter(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base
        self.low = nn.Linear(base.in_features, rank, bias=False)
        self.high = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.high.weight)

    def weight(self):
        return self.base.weight + self.high.weight @ self.low.weight

    def forward(self, inputs):
        return self.base(inputs) + self.high(self.low(inputs))


def adapt(model):
    for name, layer in list(model.named_children()):
        if name in TARGETS:
            setattr(model, name, Adapter(layer))


def weights(model):
    layers = [model.gate, model.up, model.down]
    return [(one.weight() if isinstance(one, Adapter) else one.weight).detach().clone() for one in layers]


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Gated().requires_grad_(False)
    model.head.requires_grad_(True)
    adapt(model)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.005)
    parts = Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)
    parts.kept["before"] = weights(model)
    return parts


def train(parts):
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    pairs = zip(parts.kept["before"], weights(parts.model))
    return sum(bool((one == other).all()) for one, other in pairs) / 3
