"""The digits classifier, trained with Lightning Fabric."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import nn

from scenarios.digits.loop import Digits, evaluate, loader, train_step


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
    fabric = Fabric(accelerator="cpu", devices=1)
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    model, optimizer = fabric.setup(model, optimizer)
    training = fabric.setup_dataloaders(loader("train"))
    first, lowest = 0, float("inf")
    metrics: dict[str, float] = {}
    if resume:
        checkpoint = fabric.load(last)
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
            fabric.backward(loss)
            # Fabric's own clips what the optimizer holds, and raises an error if a gradient is not finite.
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
            optimizer.step()
            total += loss.item()
        scheduler.step()
        metrics = evaluate(model)
        print(f"epoch {epoch}: train loss {total / batches:.4f}, val loss {metrics['val_loss']:.4f}")
        if metrics["val_loss"] < lowest:
            lowest = metrics["val_loss"]
            fabric.save(best, model.state_dict())
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
        fabric.save(last, {**state, "epoch": epoch, "lowest": lowest})
    return metrics
