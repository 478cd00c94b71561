"""A recurrent model that learns the names of numbers, padded to a length."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.training import Loop


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def build():
    names = text(60)
    model = LetterModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(names[:600], 32), objective, batches(names[800:], 100, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for rows in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, rows)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    parts.model.eval()
    rows = text(60)[800:]
    with torch.no_grad():
        logits = parts.model(rows[:, :-1])
    return float(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD))
