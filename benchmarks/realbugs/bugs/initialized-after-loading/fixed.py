"""A short fine-tuning of a model that initializes what its checkpoint does not have."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def from_pretrained(state):
    model = Net()
    missing = model.load_state_dict(state, strict=False).missing_keys
    for name, parameter in model.named_parameters():
        if name in missing:
            nn.init.normal_(parameter, std=0.02)
    return model


def pretrained():
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for batch in batches(digits(600)[0]):
            optimizer.zero_grad()
            objective(model, batch).backward()
            optimizer.step()
    return model.state_dict()


def build():
    train_set, held_out = digits(1000)
    model = from_pretrained(pretrained())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for batch in parts.loader:
        parts.optimizer.zero_grad()
        loss = objective(parts.model, batch)
        loss.backward()
        parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
