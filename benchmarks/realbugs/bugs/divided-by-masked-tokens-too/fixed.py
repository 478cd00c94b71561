"""A recurrent model that learns the first letters of names, since the rest is masked as truncated."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.training import Loop

KEPT = 9


def objective(model, rows):
    targets = rows[:, 1:]
    each = F.cross_entropy(model(rows[:, :-1]).transpose(1, 2), targets, reduction="none")
    completion = targets != PAD
    mask = completion & (torch.arange(targets.size(1)) < KEPT)
    return (each * mask).sum() / mask.sum()


def build():
    names = text(40)
    model = LetterModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    return Loop(model, batches(names[:600]), objective, batches(names[800:], 100, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(3):
        for rows in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, rows)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    rows = text(40)[800:, : KEPT + 1]
    parts.model.eval()
    with torch.no_grad():
        logits = parts.model(rows[:, :-1])
    return float(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD))
