"""The digits classifier, trained with Lightning Fabric."""

from __future__ import annotations

from itertools import islice

import torch
from lightning.fabric import Fabric

from scenarios.digits.loop import Digits, evaluate, loader, train_step


def train(epochs: int = 2, batches: int = 8, learning_rate: float = 0.02) -> dict[str, float]:
    """Train for some epochs of a few batches and return the metrics of the last."""
    fabric = Fabric(accelerator="cpu", devices=1)
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    model, optimizer = fabric.setup(model, optimizer)
    training = fabric.setup_dataloaders(loader("train"))
    metrics: dict[str, float] = {}
    for _ in range(epochs):
        model.train()
        for batch in islice(training, batches):
            loss = train_step(model, batch)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
        scheduler.step()
        metrics = evaluate(model)
    return metrics
