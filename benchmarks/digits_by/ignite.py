"""The digits classifier, trained by an engine of Ignite."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events, create_supervised_trainer
from torch.nn import functional as F

from scenarios.digits.loop import Digits, evaluate, loader


def train(epochs: int = 2, batches: int = 8, learning_rate: float = 0.02) -> dict[str, float]:
    """Train for some epochs of a few batches and return the metrics of the last."""
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    trainer = create_supervised_trainer(model, optimizer, F.cross_entropy)
    metrics: dict[str, float] = {}

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        scheduler.step()
        metrics.update(evaluate(model))

    trainer.run(loader("train"), max_epochs=epochs, epoch_length=batches)
    return metrics
