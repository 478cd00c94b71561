"""A small transformer that learns the names of numbers, with an embedding of each position."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, VOCABULARY, batches, text
from benchmarks.realbugs.training import Loop

LENGTH = 28


class Transformer(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.letters = nn.Embedding(VOCABULARY, width)
        self.places = nn.Embedding(128, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, rows):
        place = torch.arange(rows.size(1)).unsqueeze(0)
        hidden = self.letters(rows) + self.places(place)
        future = torch.triu(torch.full((rows.size(1), rows.size(1)), float("-inf")), 1)
        return self.head(self.layer(hidden, future, is_causal=True))


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def build():
    names = text(LENGTH)
    model = Transformer()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(names[:700]), objective, batches(names[800:], 100, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(4):
        for rows in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, rows)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    parts.model.eval()
    with torch.no_grad():
        losses = [objective(parts.model, rows) for rows in parts.validation]
    return float(torch.stack(losses).mean())
