"""A fine-tuning by a low-rank adapter with a diagonal of singular values in its middle."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop


class Adapted(nn.Module):
    def __init__(self, rank=6):
        super().__init__()
        self.base = nn.Linear(64, 64).requires_grad_(False)
        self.down = nn.Parameter(torch.randn(64, rank) / 8)
        self.up = nn.Parameter(torch.randn(rank, 64) / 8)
        self.diagonal = nn.Parameter(torch.randn(rank))
        self.head = nn.Linear(64, 10)

    def middle(self):
        return self.diagonal.diag()

    def forward(self, images):
        return self.head(torch.relu(self.base(images) + images @ self.down @ self.middle() @ self.up))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Adapted()
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    before = parts.model.middle().detach().diag().clone()
    parts.model.train()
    for _ in range(3):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
    parts.kept["same"] = float((parts.model.middle().detach().diag() == before).float().mean())


def measure(parts):
    return parts.kept["same"]
