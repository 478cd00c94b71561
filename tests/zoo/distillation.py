"""A student of a frozen teacher: what both frameworks train, and its loss of three terms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

TOKENS, WIDTH, LENGTH = 12, 8, 5


class Adapted(nn.Module):
    """A frozen layer with a low-rank adapter."""

    def __init__(self, rank: int = 6, scale: float = 4.0) -> None:
        super().__init__()
        self.base = nn.Linear(LENGTH * WIDTH, WIDTH).requires_grad_(False)
        self.down, self.up = nn.Linear(LENGTH * WIDTH, rank, bias=False), nn.Linear(rank, WIDTH)
        # Almost zero, as usual, so that training begins at what the frozen layer gives.
        nn.init.normal_(self.up.weight, std=0.02)
        nn.init.zeros_(self.up.bias)
        self.scale = scale

    def forward(self, hidden: Tensor) -> Tensor:
        output: Tensor = self.base(hidden) + self.scale * self.up(self.down(hidden))
        return output


class Student(nn.Module):
    """Predicts the token that follows, by an output layer that shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.mix = nn.Sequential(nn.Flatten(), Adapted(), nn.Tanh(), nn.Dropout(0.1))
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(self.mix(self.embedding(tokens)))
        return scores


class Distilled(nn.Module):
    """Student and teacher; the teacher is frozen and stays in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.student = Student()
        self.teacher = nn.Sequential(
            nn.Embedding(TOKENS, WIDTH), nn.Flatten(), nn.Dropout(0.5), nn.Linear(LENGTH * WIDTH, TOKENS)
        )
        self.teacher.requires_grad_(False).eval()
        self.register_buffer("balance", torch.linspace(0.2, 1.8, TOKENS))

    def train(self, mode: bool = True) -> Distilled:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.student(tokens)
        return scores

    def learning(self) -> list[nn.Parameter]:
        """Return the parameters that are trained."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def loss(self, tokens: Tensor, following: Tensor) -> Tensor:
        """Return what the labels, the teacher, and another pass with another dropout ask for."""
        scores = self(tokens)
        task = F.cross_entropy(scores, following, weight=self.balance)
        taught = F.cross_entropy(scores, self.teacher(tokens).softmax(1))
        return task + 0.1 * taught + 0.1 * F.mse_loss(scores, self(tokens).detach())


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return a shuffled loader for training and one for validation: rows that count by one, two or three."""
    numbers = torch.arange(48)
    rows = (torch.arange(LENGTH + 1) * (numbers[:, None] % 3 + 1) + numbers[:, None]) % TOKENS
    data = TensorDataset(rows[:, :-1], rows[:, -1])
    return DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=24)
