"""A classifier of two classes with a focal loss."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def focal_loss(scores, targets, gamma=2.0):
    probabilities = torch.sigmoid(scores)
    bce = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    certainty = probabilities * targets + (1 - probabilities) * (1 - targets)
    return ((1 - certainty) ** gamma * bce).mean()


def objective(model, batch):
    images, labels = batch
    return focal_loss(model(images).squeeze(1), (labels % 2).float())


def build():
    train_set, held_out = digits()
    model = Net(64, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    def wrong(outputs, labels):
        return ((outputs.squeeze(1) > 0) != (labels % 2 == 1)).float().mean()

    return evaluate(parts.model, parts.validation, wrong)
