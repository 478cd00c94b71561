"""A classifier with normalization, whose optimizer decays the weights of its linear layers only."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, hidden):
        return self.linear(self.norm(hidden))


def groups(model, decay):
    decayed, plain = [], []
    for parameter in model.parameters():
        (decayed if parameter.ndim > 1 else plain).append(parameter)
    return [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = nn.Sequential(Block(64, 48), nn.GELU(), Block(48, 48), nn.GELU(), Block(48, 10))
    optimizer = torch.optim.AdamW(groups(model, 1.0), lr=0.003)
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
    gains = [module.weight.detach() for module in parts.model.modules() if isinstance(module, nn.LayerNorm)]
    return 1 - float(torch.cat(gains).mean())
