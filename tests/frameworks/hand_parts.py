"""Training loops by hand of models that are no single module."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.hand_written import _training, evaluate


class Head(nn.Linear):
    """A module that is a single layer."""


def in_two_parts() -> None:
    """Calls an encoder and a head one after the other, which one optimizer holds."""
    encoder, head = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU()), Head(16, 3)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.02)
    for _ in range(2):
        encoder.train()
        for points, labels in _training():
            loss = F.cross_entropy(head(encoder(points)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate_parts(head, encoder)


def evaluate_parts(head: Head, encoder: nn.Module) -> dict[str, float]:
    """Takes them in an order of its own."""
    return evaluate(nn.Sequential(encoder, head))


class Coder(nn.Module):
    """Is never called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(4, 2), nn.Linear(2, 4)


def by_its_parts() -> float:
    """Calls the parts of a module one by one, each with an optimizer of its own."""
    coder = Coder()
    optimizers = [torch.optim.Adam(part.parameters(), lr=0.02) for part in (coder.encode, coder.decode)]
    loss = torch.tensor(0.0)
    for _ in range(2):
        for points, _ in _training():
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = F.mse_loss(coder.decode(coder.encode(points)), points)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
    return float(loss.detach())
