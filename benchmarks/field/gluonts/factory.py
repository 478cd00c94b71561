"""GluonTS: DeepAR, whose batches are dicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gluonts.dataset.common import ListDataset
from gluonts.itertools import Cached
from gluonts.torch.model.deepar import DeepAREstimator

_SERIES, _DAYS = 6, 80


def build() -> tuple[Any, Any]:
    """Return the network in its LightningModule, and the loaders for training and validation."""
    numbers = np.random.default_rng(0)
    days = np.arange(_DAYS)
    data = ListDataset(
        [
            {
                "start": "2020-01-01",
                "target": (10 + 3 * np.sin(days / 4 + n) + numbers.normal(size=_DAYS)).astype(np.float32),
                "feat_static_cat": [n],
            }
            for n in range(_SERIES)
        ],
        freq="D",
    )
    estimator = DeepAREstimator(
        freq="D",
        prediction_length=4,
        context_length=12,
        num_layers=1,
        hidden_size=8,
        # By default, daily data looks back three years.
        lags_seq=[1, 2, 3, 7, 14],
        batch_size=16,
        num_batches_per_epoch=12,
        num_feat_static_cat=1,
        cardinality=[_SERIES],
    )
    windows = Cached(estimator.create_transformation().apply(data, is_train=True))
    module = estimator.create_lightning_module()
    loaders = (
        estimator.create_training_data_loader(windows, module, shuffle_buffer_length=None),
        estimator.create_validation_data_loader(windows, module),
    )
    return module, loaders
