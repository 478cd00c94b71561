"""A focal loss with its two parameters, for tumors of two kinds."""

import torch

from benchmarks.realbugs.material import Net, batches
from benchmarks.realbugs.tables import tumors
from benchmarks.realbugs.training import Loop, evaluate


def focal(logits, targets, alpha, gamma):
    chances = torch.where(targets == 1, logits, -logits).sigmoid().clamp(1e-6, 1 - 1e-6)
    weights = torch.where(targets == 1, alpha, 1 - alpha)
    return (-weights * (1 - chances) ** gamma * chances.log()).mean()


class FocalLoss:
    def __init__(self, alpha=0.25, gamma=2.0):
        self.alpha, self.gamma = alpha, gamma

    def __call__(self, logits, targets):
        return focal(logits, targets, self.alpha, self.gamma)


def objective(model, batch):
    values, targets = batch
    return FocalLoss()(model(values).squeeze(1), targets)


def build():
    train_set, held_out = tumors()
    model = Net(30, 1, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return Loop(model, batches(train_set), objective, batches(held_out, 169, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, lambda logits, kinds: ((logits[:, 0] > 0) != kinds).float().mean())
