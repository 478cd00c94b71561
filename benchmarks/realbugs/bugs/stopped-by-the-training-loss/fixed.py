"""A loop that ends when the validation loss has not fallen for some epochs."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, diabetes
from benchmarks.realbugs.training import Loop, evaluate

PATIENCE = 4


def squared_error(outputs, targets):
    return F.mse_loss(outputs.squeeze(1), targets)


def objective(model, batch):
    inputs, targets = batch
    return squared_error(model(inputs), targets)


def build():
    train_set, held_out = diabetes()
    train_set = TensorDataset(*(one[:150] for one in train_set.tensors))
    model = Net(10, 1, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(model, batches(train_set), objective, batches(held_out, 122, False), optimizer=optimizer)


def train(parts):
    lowest, waited = float("inf"), 0
    for _ in range(80):
        parts.model.train()
        training_loss = 0.0
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            training_loss += loss.item() / len(parts.loader)
        validation_loss = evaluate(parts.model, parts.validation, squared_error)
        parts.kept["losses"] = training_loss, validation_loss
        watched = validation_loss
        if watched < lowest:
            lowest, waited = watched, 0
        else:
            waited += 1
        if waited >= PATIENCE:
            break


def measure(parts):
    return evaluate(parts.model, parts.validation, squared_error)
