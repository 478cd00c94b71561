"""pytorch-forecasting: a temporal fusion transformer on daily sales of a few shops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.data import GroupNormalizer
from pytorch_forecasting.metrics import QuantileLoss

_DAYS, _HORIZON = 44, 4


def build() -> tuple[Any, Any]:
    """Return the transformer, and its loaders for training and validation."""
    sales = _sales()
    training = TimeSeriesDataSet(
        sales[sales.day < _DAYS - _HORIZON],
        time_idx="day",
        target="sold",
        group_ids=["shop"],
        min_encoder_length=6,
        max_encoder_length=12,
        min_prediction_length=_HORIZON,
        max_prediction_length=_HORIZON,
        static_categoricals=["shop"],
        time_varying_known_categoricals=["weekday"],
        time_varying_known_reals=["day", "price"],
        time_varying_unknown_reals=["sold"],
        target_normalizer=GroupNormalizer(groups=["shop"]),
        add_relative_time_idx=True,
        add_encoder_length=True,
    )
    validation = TimeSeriesDataSet.from_dataset(
        training, sales, min_prediction_idx=_DAYS - _HORIZON, stop_randomization=True
    )
    module = TemporalFusionTransformer.from_dataset(
        training,
        hidden_size=8,
        attention_head_size=2,
        hidden_continuous_size=4,
        dropout=0.1,
        output_size=7,
        loss=QuantileLoss(),
        learning_rate=0.03,
        log_interval=-1,
    )
    loaders = (
        training.to_dataloader(train=True, batch_size=16, num_workers=0),
        validation.to_dataloader(train=False, batch_size=16, num_workers=0),
    )
    return module, loaders


def _sales() -> pd.DataFrame:
    numbers = np.random.default_rng(0)
    frames = []
    for shop in range(5):
        day = np.arange(_DAYS)
        price = 3 + np.sin(day / 3 + shop) + 0.1 * numbers.normal(size=_DAYS)
        sold = 20 + 5 * np.sin(2 * np.pi * day / 7 + shop) - 2 * price + numbers.normal(size=_DAYS)
        frame = {"day": day, "shop": f"shop {shop}", "weekday": (day % 7).astype(str), "price": price, "sold": sold}
        frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)
