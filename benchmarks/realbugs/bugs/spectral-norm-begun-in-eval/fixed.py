"""A classifier of digits with spectral normalization whose last layer is scaled to the features before the training."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop, evaluate


class Bounded(nn.Linear):
    """A linear layer whose weights are divided by their largest singular value, as power iterations estimate it."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("left", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(inputs), dim=0))
        self.iterate(15)

    @torch.no_grad()
    def iterate(self, times):
        for _ in range(times):
            self.left.copy_(F.normalize(self.weight @ self.right, dim=0))
            self.right.copy_(F.normalize(self.weight.T @ self.left, dim=0))

    def forward(self, inputs):
        if self.training:
            self.iterate(1)
        largest = self.left.clone() @ self.weight @ self.right.clone()
        return F.linear(inputs, self.weight / largest, self.bias)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(Bounded(64, 64), nn.ReLU(), Bounded(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(self.features(images))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


@torch.no_grad()
def scale_head(model, images):
    """Divide the weights of the head by the size of the features that they get."""
    model.eval()
    model.head.weight.div_(model.features(images).std())
    model.train()


def build():
    train_set, held_out = digits()
    model = Classifier()
    scale_head(model, train_set.tensors[0][:200])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(4):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return evaluate(parts.model, parts.validation, F.cross_entropy)
