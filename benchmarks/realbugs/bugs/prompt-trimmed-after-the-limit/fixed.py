"""A model of the names of numbers that is validated by what it writes after a prompt."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.training import Loop

WINDOW, PROMPT, LIMIT = 8, 14, 6


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


@torch.no_grad()
def write(model, prompt, limit):
    """Return the letters after a prompt, at most so many. The model gets the end of the prompt that fits its window."""
    prompt = prompt[:, -WINDOW:]
    longest = prompt.shape[1] + limit
    rows = prompt
    while rows.shape[1] < longest:
        rows = torch.cat([rows, model(rows)[:, -1:].argmax(-1)], 1)
    return rows[:, prompt.shape[1] :]


def validate(parts):
    """Return the share of wrong letters, and the mean number of letters that were written."""
    parts.model.eval()
    wrong, count, length = 0.0, 0, []
    for rows in parts.validation:
        written = write(parts.model, rows[:, :PROMPT], LIMIT)
        true = rows[:, PROMPT : PROMPT + written.shape[1]]
        wrong += float((written != true)[true != PAD].sum())
        count += int((true != PAD).sum())
        length.append(written.shape[1])
    return wrong / count, sum(length) / len(length)


def build():
    names = text()
    model = LetterModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(names[:400], 25), objective, batches(names[800:], 50, False), optimizer=optimizer)


def train(parts):
    for _ in range(2):
        parts.model.train()
        for rows in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, rows)
            loss.backward()
            parts.optimizer.step()
        parts.kept["error"], parts.kept["length"] = validate(parts)


def measure(parts):
    return parts.kept["length"] - LIMIT
