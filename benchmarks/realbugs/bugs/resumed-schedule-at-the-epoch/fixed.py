"""A language model of letters whose training is resumed from weights, the optimizer's state, and two counters."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.training import Loop

EPOCHS, BATCHES, WARMUP = 4, 12, 10
PEAK = 0.01


def factor(step):
    return min((step + 1) / WARMUP, 1 - max(0, step - WARMUP) / (EPOCHS * BATCHES - WARMUP))


def objective(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)


def epoch_of(model, optimizer, scheduler, loader):
    model.train()
    for rows in loader:
        optimizer.zero_grad()
        loss = objective(model, rows)
        loss.backward()
        optimizer.step()
        scheduler.step()


def build():
    loader = batches(text()[: BATCHES * 25], 25)
    model = LetterModel(24)
    optimizer = torch.optim.Adam(model.parameters(), lr=PEAK)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for _ in range(2):
        epoch_of(model, optimizer, scheduler, loader)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 2, "step": 2 * BATCHES}
    resumed = LetterModel(24)
    resumed.load_state_dict(saved["model"])
    optimizer = torch.optim.Adam(resumed.parameters(), lr=PEAK)
    optimizer.load_state_dict(saved["optimizer"])
    parts = Loop(resumed, loader, objective, optimizer=optimizer)
    parts.kept["saved"] = saved
    return parts


def train(parts):
    saved = parts.kept["saved"]
    last = saved["step"] - 1
    scheduler = torch.optim.lr_scheduler.LambdaLR(parts.optimizer, factor, last_epoch=last)
    parts.kept["rate"] = parts.optimizer.param_groups[0]["lr"]
    for _ in range(saved["epoch"], EPOCHS):
        epoch_of(parts.model, parts.optimizer, scheduler, parts.loader)


def measure(parts):
    return abs(parts.kept["rate"] - PEAK * factor(parts.kept["saved"]["step"])) / PEAK
