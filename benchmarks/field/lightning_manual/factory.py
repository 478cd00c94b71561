"""Lightning's own demo of manual optimization."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.demos.boring_classes import ManualOptimBoringModel, RandomDataset
from torch.utils.data import DataLoader


def build() -> tuple[Any, Any]:
    """Return the demo, and its data in batches of eight; the demo's own loaders have one sample per batch."""
    # RandomDataset draws from the generator of the process.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        training, validation = RandomDataset(32, 96), RandomDataset(32, 32)
    return ManualOptimBoringModel(), (
        DataLoader(training, batch_size=8, shuffle=True),
        DataLoader(validation, batch_size=8),
    )
