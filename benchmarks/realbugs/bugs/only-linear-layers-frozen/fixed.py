"""A fine-tuning of a letter model on round numbers by an adapter at its output."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, VOCABULARY, batches, text
from benchmarks.realbugs.training import Loop


class Model(nn.Module):
    def __init__(self, width=32, context=4):
        super().__init__()
        self.context = context
        self.embed = nn.Embedding(VOCABULARY, width)
        self.hidden = nn.Linear(context * width, 64)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, VOCABULARY)

    def forward(self, rows):
        letters = self.embed(F.pad(rows, (self.context - 1, 0)))
        near = letters.unfold(1, self.context, 1).flatten(2)
        return self.head(self.norm(torch.relu(self.hidden(near))))


class Adapter(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs):
        return self.base(inputs) + self.up(self.down(inputs))


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def fit(model, optimizer, loader):
    model.train()
    for rows in loader:
        optimizer.zero_grad()
        loss = objective(model, rows)
        loss.backward()
        optimizer.step()


def freeze(model):
    for module in model.modules():
        module.requires_grad_(False)


def build():
    model = Model()
    fit(model, torch.optim.Adam(model.parameters(), lr=0.01), batches(text()[:500], 25))
    freeze(model)
    model.hidden, model.head = Adapter(model.hidden), Adapter(model.head)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.005)
    parts = Loop(model, batches(text()[500:], 25), objective, optimizer=optimizer)
    parts.kept["embedding"] = model.embed.weight.detach().clone()
    return parts


def train(parts):
    for _ in range(2):
        fit(parts.model, parts.optimizer, parts.loader)


def measure(parts):
    before = parts.kept["embedding"]
    return float((parts.model.embed.weight.detach() - before).norm() / before.norm())
