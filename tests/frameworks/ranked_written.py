"""Trainings on several ranks by Fabric, Accelerate and the Trainer of transformers, as users write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_INPUTS = torch.randn(48, 4, generator=torch.Generator().manual_seed(3))
_LABELS = (_INPUTS[:, 0] > _INPUTS[:, 1]).long()


class Net(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        out: torch.Tensor = self.head(torch.relu(self.hidden(x)))
        return out


def _parts() -> tuple[Net, torch.optim.Optimizer, DataLoader[Any]]:
    torch.manual_seed(0)
    model, loader = Net(), DataLoader(TensorDataset(_INPUTS, _LABELS), batch_size=4, shuffle=True)
    return model, torch.optim.SGD(model.parameters(), lr=0.1), loader


def fabric() -> dict[str, float]:
    """Train by Fabric."""
    from lightning.fabric import Fabric

    runs = Fabric(accelerator="cpu", strategy="ddp", devices=2)
    runs.launch()
    model, optimizer, loader = _parts()
    wrapped, optimizer = runs.setup(model, optimizer)
    loader = runs.setup_dataloaders(loader)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        for x, y in loader:
            loss = nn.functional.cross_entropy(wrapped(x), y)
            optimizer.zero_grad()
            runs.backward(loss)
            optimizer.step()
    return {"val_loss": runs.all_reduce(loss.detach()).item()}


def accelerate() -> dict[str, float]:
    """Train by Accelerate."""
    from accelerate import Accelerator

    runs = Accelerator(cpu=True)
    model, optimizer, loader = runs.prepare(*_parts())
    for _ in range(2):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            runs.backward(loss)
            optimizer.step()
    mean = runs.gather(loss.detach().reshape(1)).mean().item()
    runs.end_training()
    return {"val_loss": mean}


class WithLoss(Net):
    """Computes its own loss, as the models of transformers do."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """Return the loss and the logits."""
        logits = super().forward(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def transformers() -> dict[str, float]:
    """Train by the Trainer of transformers."""
    from transformers import Trainer, TrainingArguments

    data = [{"x": x, "labels": y} for x, y in zip(_INPUTS, _LABELS)]
    arguments = TrainingArguments("out", num_train_epochs=2, learning_rate=0.05, per_device_train_batch_size=4,
                                  use_cpu=True, report_to=[], save_strategy="no", logging_steps=4)  # fmt: skip
    trainer = Trainer(WithLoss(), arguments, train_dataset=data, eval_dataset=data[:8])
    trainer.train()
    return dict(trainer.evaluate())
