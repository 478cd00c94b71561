"""Small real tables that some scripts of the bugs share: tumors and wines, with classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer, load_wine
from torch.utils.data import TensorDataset


@cache
def _table(load: Callable[..., Any]) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = load(return_X_y=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    values = torch.tensor(inputs, dtype=torch.float32)[order]
    return (values - values.mean(0)) / values.std(0), torch.tensor(labels)[order]


def _split(load: Callable[..., Any], train: int) -> tuple[TensorDataset, TensorDataset]:
    values, labels = _table(load)
    return TensorDataset(values[:train], labels[:train]), TensorDataset(values[train:], labels[train:])


def tumors() -> tuple[TensorDataset, TensorDataset]:
    """Return 30 standardized measurements of tumors and whether each is benign, for training and held out."""
    return _split(load_breast_cancer, 400)


def wines() -> tuple[TensorDataset, TensorDataset]:
    """Return 13 standardized measurements of wines and their three growers, for training and held out."""
    return _split(load_wine, 120)
