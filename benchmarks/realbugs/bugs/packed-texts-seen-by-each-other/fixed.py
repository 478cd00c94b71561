"""A small attention model that is trained on names of numbers, packed three to a row."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import END, PAD, VOCABULARY, batches, text
from benchmarks.realbugs.training import Loop

LENGTH = 80


class Model(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.places = nn.Embedding(LENGTH, width)
        self.mix = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, rows):
        texts = (rows == END).cumsum(1) - (rows == END).long()
        causal = torch.ones(rows.shape[1], rows.shape[1], dtype=torch.bool).tril()
        allowed = causal & (texts[:, :, None] == texts[:, None])
        hidden = self.embed(rows) + self.places(torch.arange(rows.shape[1]))
        queries, keys, values = self.mix(hidden).chunk(3, -1)
        return self.head(hidden + F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed))


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def packed(names):
    rows = torch.full((len(names) // 3, LENGTH), PAD)
    for at, row in enumerate(rows):
        letters = torch.cat([name[name != PAD] for name in names[3 * at : 3 * at + 3]])[:LENGTH]
        row[: len(letters)] = letters
    return rows


def build():
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(packed(text()), 16), objective, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for rows in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, rows)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    names = [name[name != PAD] for name in text()[:60]]
    changes = []
    parts.model.eval()
    for first, other, second in zip(names[0::3], names[1::3], names[2::3]):
        size = min(len(first), len(other)) - 1
        end = torch.tensor([END])
        rows = [torch.cat([one[:size], end, second]) for one in (first, other)]
        with torch.no_grad():
            logits = parts.model(torch.stack(rows))[:, size + 1 :]
        changes.append(float((logits[0] - logits[1]).abs().mean()))
    return sum(changes) / len(changes)
