"""A classifier of tumors that reports its accuracy after each epoch."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches
from benchmarks.realbugs.tables import tumors
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    values, kinds = batch
    return F.binary_cross_entropy_with_logits(model(values).squeeze(1), kinds.float())


def build():
    train_set, held_out = tumors()
    model = Net(30, 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    return Loop(model, batches(train_set), objective, batches(held_out, 64, False), optimizer=optimizer)


def train(parts):
    for _ in range(3):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
        parts.kept["share"] = validate(parts.model, parts.validation)


def validate(model, loader):
    model.eval()
    found, total = 0, 0
    with torch.no_grad():
        for values, _ in loader:
            scores = model(values).squeeze(1).sigmoid()
            found += int((scores > 0.5).sum())
            total += len(values)
    return found / total


def measure(parts):
    values = tumors()[1].tensors[0]
    parts.model.eval()
    with torch.no_grad():
        share = float((parts.model(values) > 0).float().mean())
    return abs(parts.kept["share"] - share)
