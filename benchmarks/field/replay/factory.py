"""RePlay's SASRec on two ranks: its own data module deals Parquet fragments and rows out to the ranks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms

ITEMS, USERS, LENGTH = 20, 256, 8
PADDING = ITEMS


def build() -> tuple[Any, Any]:
    """Return the module and its data: each user steps through the items by a stride of their own."""
    torch.manual_seed(0)
    schema = TensorSchema(
        [
            TensorFeatureInfo(
                name="item_id",
                is_seq=True,
                cardinality=ITEMS + 1,
                padding_value=PADDING,
                embedding_dim=16,
                feature_type=FeatureType.CATEGORICAL,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
                feature_hint=FeatureHint.ITEM_ID,
            )
        ]
    )
    model = SasRec.from_params(
        schema=schema, embedding_dim=16, num_heads=1, num_blocks=1, max_sequence_length=LENGTH, dropout=0.1
    )
    module = LightningModule(model, optimizer_factory=OptimizerFactory(optimizer="adam", learning_rate=0.01))
    return module, _data(schema)


def _data(schema: TensorSchema) -> ParquetModule:
    draws = np.random.default_rng(0)
    strides, starts = draws.integers(1, 4, USERS), draws.integers(0, ITEMS, USERS)
    rows = [
        {"user_id": user, "item_id": [(start + stride * step) % ITEMS for step in range(LENGTH + 1)]}
        for user, (start, stride) in enumerate(zip(starts, strides))
    ]
    path = str(Path(tempfile.mkdtemp()) / "interactions.parquet")
    pd.DataFrame.from_records(rows).to_parquet(path, index=False)
    lengths = {"train": LENGTH + 1, "validate": LENGTH}
    return ParquetModule(
        metadata={
            stage: {"user_id": {}, "item_id": {"shape": length, "padding": PADDING}}
            for stage, length in lengths.items()
        },
        transforms=make_default_sasrec_transforms(schema),
        batch_size=16,
        train_path=path,
        validate_path=path,
    )
