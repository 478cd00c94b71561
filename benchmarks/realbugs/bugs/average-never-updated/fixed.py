"""A loop that puts a moving average into the model before each checkpoint."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class MovingAverage:
    def __init__(self, model, decay=0.9):
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in model.named_parameters()}

    def update(self, model):
        for name, value in model.named_parameters():
            self.shadow[name].lerp_(value.detach(), 1 - self.decay)

    def apply_shadow(self, model):
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(self.shadow[name])


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    average = MovingAverage(parts.model)
    for _ in range(4):
        parts.model.train()
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            average.update(parts.model)
        average.apply_shadow(parts.model)
        parts.kept["checkpoint"] = {name: value.clone() for name, value in parts.model.state_dict().items()}


def measure(parts):
    parts.model.load_state_dict(parts.kept["checkpoint"])
    return evaluate(parts.model, parts.validation, F.cross_entropy)
