"""chemprop: a message-passing network that learns a property of molecules."""

from __future__ import annotations

from typing import Any

import numpy as np
from chemprop import nn
from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader
from chemprop.models import MPNN

_ENDS = ("C", "O", "N", "F", "Cl", "c1ccccc1", "C(=O)O", "C#N")


def build() -> tuple[Any, Any]:
    """Return the network, and its loaders for training and validation."""
    points = _molecules()
    training = MoleculeDataset(points[::2] + points[1::4])
    validation = MoleculeDataset(points[3::4])
    scaler = training.normalize_targets()
    validation.normalize_targets(scaler)
    module = MPNN(
        nn.BondMessagePassing(d_h=16, depth=2, dropout=0.1),
        nn.MeanAggregation(),
        nn.RegressionFFN(
            input_dim=16, hidden_dim=16, output_transform=nn.UnscaleTransform.from_standard_scaler(scaler)
        ),
        batch_norm=True,
        metrics=[nn.metrics.RMSE(), nn.metrics.MAE()],
        warmup_epochs=1,
    )
    loaders = (
        build_dataloader(training, batch_size=8, seed=0),
        build_dataloader(validation, batch_size=8, shuffle=False),
    )
    return module, loaders


def _molecules() -> list[MoleculeDatapoint]:
    """Return carbon chains with two ends; the label grows with the chain and depends on the ends."""
    numbers = np.random.default_rng(0)
    return [
        MoleculeDatapoint.from_smi(f"{one}{'C' * length}{other}", [length + at - 0.5 * to + 0.1 * numbers.normal()])
        for length in (1, 3, 5)
        for at, one in enumerate(("C", "N", "O", "Br"))
        for to, other in enumerate(_ENDS)
    ]
