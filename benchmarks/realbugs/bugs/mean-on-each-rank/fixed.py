"""A loop over texts of different lengths, as two ranks whose gradients are averaged would run it."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.training import Loop

RANKS = 2


def token_losses(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD, reduction="none")


def count(rows):
    return int((rows[:, 1:] != PAD).sum())


def objective(model, rows):
    return token_losses(model, rows).sum() / count(rows)


def build():
    names = text()
    lengths = (names != PAD).sum(1)
    short, long = names[lengths < 8], names[lengths >= 20]
    pairs = [row for pair in zip(short.repeat(40, 1)[:240], long[:240]) for row in pair]
    model = LetterModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(torch.stack(pairs), 32, False), objective, optimizer=optimizer)


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def train(parts):
    optimizer = parts.optimizer
    parts.model.train()
    for _ in range(2):
        for batch in parts.loader:
            optimizer.zero_grad()
            if "true" not in parts.kept:
                objective(parts.model, batch).backward()
                parts.kept["true"] = gradient(parts.model)
                optimizer.zero_grad()
            tokens = count(batch)
            for rows in (batch[0::2], batch[1::2]):
                loss = token_losses(parts.model, rows).sum() / tokens * RANKS
                (loss / RANKS).backward()
            if "used" not in parts.kept:
                parts.kept["used"] = gradient(parts.model)
            optimizer.step()


def measure(parts):
    return float((parts.kept["used"] - parts.kept["true"]).norm() / parts.kept["true"].norm())
