"""The digits classifier, trained with Accelerate."""

from __future__ import annotations

from itertools import islice

import torch
from accelerate import Accelerator

from scenarios.digits.loop import Digits, evaluate, loader, train_step


def train(epochs: int = 2, batches: int = 8, learning_rate: float = 0.02) -> dict[str, float]:
    """Train for some epochs of a few batches and return the metrics of the last."""
    accelerator = Accelerator(cpu=True)
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    model, optimizer, training, scheduler = accelerator.prepare(model, optimizer, loader("train"), scheduler)
    metrics: dict[str, float] = {}
    for _ in range(epochs):
        model.train()
        for batch in islice(training, batches):
            loss = train_step(model, batch)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
        scheduler.step()
        metrics = evaluate(accelerator.unwrap_model(model))
    return metrics
