"""neuralforecast: NHITS, which cuts its windows out of one tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from neuralforecast.models import NHITS
from neuralforecast.tsdataset import TimeSeriesDataModule, TimeSeriesDataset

_SERIES, _DAYS = 16, 60


def build() -> tuple[Any, Any]:
    """Return the model and the data module that ``NHITS.fit`` trains."""
    numbers = np.random.default_rng(0)
    days = np.arange(_DAYS)
    frames = [
        pd.DataFrame(
            {
                "unique_id": f"series {n}",
                "ds": pd.date_range("2020-01-01", periods=_DAYS),
                "y": 10 + 3 * np.sin(days / 4 + n) + numbers.normal(size=_DAYS),
            }
        )
        for n in range(_SERIES)
    ]
    dataset, *_ = TimeSeriesDataset.from_df(pd.concat(frames, ignore_index=True))
    module = NHITS(
        h=4,
        input_size=12,
        max_steps=80,
        batch_size=4,
        windows_batch_size=16,
        val_check_steps=16,
        scaler_type="standard",
        mlp_units=[[16, 16]] * 3,
    )
    # ``fit`` sets these before it passes the model to a Trainer.
    module.val_size, module.test_size = 8, 0
    data = TimeSeriesDataModule(dataset=dataset, batch_size=4, valid_batch_size=8, drop_last=False, shuffle_train=True)
    return module, data
