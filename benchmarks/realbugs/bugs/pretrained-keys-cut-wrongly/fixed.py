"""A short fine-tuning from pretrained weights."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def pretrained():
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for batch in batches(digits(600)[0]):
            optimizer.zero_grad()
            objective(model, batch).backward()
            optimizer.step()
    return model.state_dict()


def load_pretrained(model, state):
    known = model.state_dict()
    wanted = {k: v for k, v in state.items() if k in known and v.shape == known[k].shape}
    known.update(wanted)
    model.load_state_dict(known, strict=False)


def build():
    state = pretrained()
    train_set, held_out = digits(1000)
    model = Net()
    load_pretrained(model, state)
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
