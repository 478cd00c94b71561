"""A language model of letters whose block with dropout is checkpointed to save memory."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from benchmarks.realbugs.material import PAD, VOCABULARY, batches, text
from benchmarks.realbugs.training import Loop


class Model(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.saving = True
        self.embed = nn.Embedding(VOCABULARY, width)
        self.recur = nn.GRU(width, width, batch_first=True)
        self.block = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(width, 64), nn.GELU(), nn.Dropout(0.5), nn.Linear(64, width)
        )
        self.head = nn.Linear(width, VOCABULARY)

    def mixed(self, hidden):
        if not self.saving:
            return self.block(hidden)
        return checkpoint(self.block, hidden, use_reentrant=False)

    def forward(self, rows):
        hidden = self.recur(self.embed(rows))[0]
        return self.head(hidden + self.mixed(hidden))


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def build():
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(text()[:600], 30), objective, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(2):
        for rows in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, rows)
            loss.backward()
            parts.optimizer.step()


def gradient(model, rows):
    torch.manual_seed(0)
    model.zero_grad()
    objective(model, rows).backward()
    return torch.cat([one.grad.flatten() for one in model.block.parameters()])


def measure(parts):
    parts.model.train()
    rows = text()[600:640]
    used = gradient(parts.model, rows)
    parts.model.saving = False
    true = gradient(parts.model, rows)
    return float((used - true).norm() / true.norm())
