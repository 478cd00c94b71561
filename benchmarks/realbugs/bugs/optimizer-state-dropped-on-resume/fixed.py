"""A training that is resumed from a checkpoint in its middle."""

import torch
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


class Trainer:
    def __init__(self):
        self.model = Net()
        self.optimizer = None

    def setup(self):
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.95)

    def resume(self, checkpoint):
        self.model.load_state_dict(checkpoint["model"])
        if self.optimizer is not None and "optimizer" in checkpoint:
            self.optimizer.load_state_dict(checkpoint["optimizer"])

    def train(self, loader, epochs):
        self.model.train()
        for _ in range(epochs):
            for batch in loader:
                self.optimizer.zero_grad()
                loss = objective(self.model, batch)
                loss.backward()
                self.optimizer.step()


def build():
    train_set, held_out = digits(500)
    loader = batches(train_set, 50, False)
    first = Trainer()
    first.setup()
    first.train(loader, 1)
    checkpoint = {
        "model": {name: value.clone() for name, value in first.model.state_dict().items()},
        "optimizer": torch.optim.SGD.state_dict(first.optimizer),
    }
    checkpoint = torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, checkpoint)
    first.train(loader, 1)
    trainer = Trainer()
    trainer.setup()
    trainer.resume(checkpoint)
    parts = Loop(trainer.model, loader, objective, batches(held_out, 128, False), 10, optimizer=trainer.optimizer)
    parts.kept.update(trainer=trainer, uninterrupted=first.model)
    return parts


def train(parts):
    parts.kept["trainer"].train(parts.loader, 1)


def measure(parts):
    pairs = zip(parts.model.parameters(), parts.kept["uninterrupted"].parameters())
    return float(sum(((one - other) ** 2).sum() for one, other in pairs)) ** 0.5
