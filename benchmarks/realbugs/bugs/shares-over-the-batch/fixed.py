"""A regression that predicts the shares of the normal distributions of a mixture."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop

PARTS = 6


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.shares = Net(64, PARTS, 48)
        self.means = nn.Parameter(torch.linspace(-2, 2, PARTS))
        self.log_widths = nn.Parameter(torch.full((PARTS,), -0.5))

    def forward(self, images):
        return self.shares(images)


def surprise(model, log_share, targets):
    each = torch.distributions.Normal(model.means, model.log_widths.exp()).log_prob(targets.unsqueeze(1))
    return -(each + log_share).logsumexp(1).mean()


def objective(model, batch):
    images, targets = batch
    log_share = F.log_softmax(model(images), dim=-1)
    return surprise(model, log_share, targets)


def numbered(dataset):
    """Return the images with the number that they show as a target, from -2 to 2."""
    images, labels = dataset.tensors
    return TensorDataset(images, (labels - 4.5) / 2.25)


def build():
    train_set, held_out = (numbered(dataset) for dataset in digits(600))
    model = Mixture()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    images, targets = parts.validation.dataset.tensors
    parts.model.eval()
    with torch.no_grad():
        return float(surprise(parts.model, parts.model(images).log_softmax(1), targets))
