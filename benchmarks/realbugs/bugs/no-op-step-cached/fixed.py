"""A classifier of digits, few of them labelled, with an optimizer that keeps specialized versions of its step."""

import functools

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, error_rate, evaluate

UNLABELLED = -1


class Specialized(torch.optim.Optimizer):
    """Gradient descent: a step is made for the gradients that there are, and used again while its guards hold."""

    def __init__(self, parameters, lr=0.1):
        super().__init__(parameters, {"lr": lr})
        self.kept = []

    @torch.no_grad()
    def step(self, closure=None):
        for guards, run in self.kept:
            if all(guard() for guard in guards):
                return run()
        guards, run = self.specialize()
        self.kept.insert(0, (guards, run))
        return run()

    def specialize(self):
        guards, ready = [], []
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is None:
                    guards.append(lambda one=one: one.grad is None)
                else:
                    guards.append(lambda one=one: one.grad is not None)
                    ready.append((one, group))
        return guards, functools.partial(self.update, ready)

    def update(self, ready):
        for one, group in ready:
            one.sub_(one.grad, alpha=group["lr"])


def objective(model, batch):
    images, labels = batch
    total = F.cross_entropy(model(images), labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def build():
    train_set, held_out = digits()
    images, labels = train_set.tensors
    labels = labels.where(torch.rand(len(labels)) < 0.15, UNLABELLED)
    model = Net()
    optimizer = Specialized(model.parameters())
    loader = batches(TensorDataset(images, labels), 16)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(8):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            if (batch[1] != UNLABELLED).any():
                loss = objective(parts.model, batch)
                loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, error_rate)
