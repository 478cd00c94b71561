"""The digits classifier again, trained by a loop written by hand in PyTorch alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from scenarios.digits.splits import load_splits

NUM_CLASSES = 10
Batch = Sequence[Tensor]


class Digits(nn.Module):
    """Two convolutions with BatchNorm, dropout and a linear head."""

    def __init__(self, channels: int = 12, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels, momentum=0.4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels, momentum=0.4),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(2 * channels * 2 * 2, NUM_CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, `float32[n, 10]`."""
        logits: Tensor = self.head(self.features(images))
        return logits


def loader(split: str, batch_size: int = 64) -> DataLoader[Any]:
    """Load a split: training is shuffled, without the remainder; validation gives every sample once."""
    images, labels = load_splits(0)[split]
    training = split == "train"
    samples = TensorDataset(images.clone(), labels.clone())
    return DataLoader(samples, batch_size if training else 4 * batch_size, shuffle=training, drop_last=training)


def train_step(model: nn.Module, batch: Batch) -> Tensor:
    """Return the cross-entropy of one batch."""
    images, labels = batch
    return F.cross_entropy(model(images), labels)


@torch.no_grad()
def evaluate(model: nn.Module) -> dict[str, float]:
    """Return `val_loss` and `val_accuracy`."""
    model.eval()
    total = right = count = 0.0
    for images, labels in loader("validation"):
        logits = model(images)
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        right += (logits.argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return {"val_loss": total / count, "val_accuracy": right / count}


def train(
    epochs: int = 2,
    batches: int = 8,
    learning_rate: float = 0.02,
    folder: str = "checkpoints/digits",
    resume: bool = False,
) -> dict[str, float]:
    """Train for some epochs of a few batches, save the last and the best state, and return the last metrics."""
    last, best = Path(folder, "last.pt"), Path(folder, "best.pt")
    last.parent.mkdir(parents=True, exist_ok=True)
    model, training = Digits(), loader("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    first, lowest = 0, float("inf")
    metrics: dict[str, float] = {}
    if resume:
        checkpoint = torch.load(last)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        scheduler.load_state_dict(checkpoint["scheduler"])
        first, lowest = checkpoint["epoch"] + 1, checkpoint["lowest"]
    for epoch in range(first, epochs):
        model.train()
        total = 0.0
        for batch in islice(training, batches):
            loss = train_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
            optimizer.step()
            total += loss.item()
        scheduler.step()
        metrics = evaluate(model)
        print(f"epoch {epoch}: train loss {total / batches:.4f}, val loss {metrics['val_loss']:.4f}")
        if metrics["val_loss"] < lowest:
            lowest = metrics["val_loss"]
            torch.save(model.state_dict(), best)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
        torch.save({**state, "epoch": epoch, "lowest": lowest}, last)
    return metrics
