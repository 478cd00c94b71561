"""A classifier whose loss is made of log_softmax and the negative log likelihood."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    log_probabilities = F.log_softmax(model(images), dim=1)
    return F.nll_loss(log_probabilities, labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(5):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
