"""darts: a temporal fusion transformer with past and future covariates."""

from __future__ import annotations

from typing import Any

import numpy as np
from darts import TimeSeries
from darts.models import TFTModel


def build() -> tuple[Any, Any]:
    """Return the LightningModule and the data module that ``TFTModel.fit`` trains.

    darts creates both inside ``fit``; these two methods are the only access to them.
    """
    numbers = np.random.default_rng(0)
    time = np.arange(160)
    load = _series(np.sin(time[:130] / 5) + 0.1 * numbers.normal(size=130))
    weather = _series(np.cos(time / 5) + 0.1 * numbers.normal(size=160))
    holidays = _series((time % 7 > 4).astype(float))
    model = TFTModel(
        input_chunk_length=12,
        output_chunk_length=4,
        hidden_size=8,
        lstm_layers=1,
        num_attention_heads=2,
        dropout=0.1,
        batch_size=16,
        n_epochs=1,
        random_state=0,
        save_checkpoints=False,
        pl_trainer_kwargs={"accelerator": "cpu", "logger": False, "enable_progress_bar": False},
    )

    def windows(series: TimeSeries) -> Any:
        return model._build_train_dataset([series], [weather], [holidays], None, None)

    made = model._setup_for_train(windows(load[:100]), windows(load[80:]))
    return made["model"], made["datamodule"]


def _series(values: np.ndarray[Any, Any]) -> TimeSeries:
    return TimeSeries.from_values(values.astype(np.float32))
