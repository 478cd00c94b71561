"""Validation data with training samples among it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from faultlab.injection.values import Loading
from faultlab.injectors.dataset_splits import overlap


class Arrays(list[Any]):
    """Samples as arrays, as scikit-learn's users have them."""


class Asked:
    """What the injector reads of its context."""

    generator = torch.Generator().manual_seed(0)
    dose = type("Dose", (), {"fraction": 0.5})


def loading(dataset: Any, training: Any = None) -> Loading:
    return Loading(dataset, False, 4, False, 0, None, training=training)


TENSORS = TensorDataset(torch.zeros(8, 2), torch.arange(8))
SAMPLES = Arrays((np.full(2, 7, dtype=np.float32), np.int64(n)) for n in range(8))


@pytest.mark.parametrize("training", [TensorDataset(torch.full((8, 2), 7.0), torch.arange(8)), SAMPLES])
def test_training_samples_are_mixed_in_whatever_they_are_made_of(training: Any) -> None:
    changed = overlap(loading(TENSORS, lambda: loading(training)), Asked())  # type: ignore[arg-type]
    inputs = torch.cat([batch[0] for batch in DataLoader(changed.dataset, 4)])
    assert len(changed.dataset) == 8
    assert (inputs[:, 0] == 7).sum() == 4
