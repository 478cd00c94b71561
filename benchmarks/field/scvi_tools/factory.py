"""scvi-tools: SCANVI, with half of the cells labeled with their type."""

from __future__ import annotations

from typing import Any

import anndata
import numpy as np
import pandas as pd
from scvi.dataloaders import SemiSupervisedDataSplitter
from scvi.model import SCANVI
from scvi.train import SemiSupervisedTrainingPlan

_TYPES = ("B", "NK", "T")


def build() -> tuple[Any, Any]:
    """Return the training plan and the data module that ``SCANVI.train`` uses."""
    cells = _cells()
    SCANVI.setup_anndata(cells, labels_key="type", unlabeled_category="unknown", batch_key="donor")
    model = SCANVI(cells, n_hidden=16, n_latent=4)
    plan = SemiSupervisedTrainingPlan(model.module, n_classes=len(_TYPES), lr=1e-2)
    data = SemiSupervisedDataSplitter(
        model.adata_manager,
        train_size=0.75,
        validation_size=0.25,
        batch_size=16,
        # A shuffled split differs in every process, unless scvi's settings seed everything, including torch.
        shuffle_set_split=False,
    )
    return plan, data


def _cells(count: int = 256, genes: int = 30) -> anndata.AnnData:
    """Return counts where every type expresses ten genes more strongly than the others do."""
    numbers = np.random.default_rng(0)
    types = numbers.integers(len(_TYPES), size=count)
    rates = np.where(np.arange(genes) // (genes // len(_TYPES)) == types[:, None], 6.0, 2.0)
    # Every other cell, so that no batch has a single labeled cell, which batch norm rejects.
    names = np.where(np.arange(count) % 2 == 0, np.array(_TYPES)[types], "unknown")
    described = pd.DataFrame(
        {"donor": numbers.choice(["one", "two"], count), "type": names}, index=[f"cell {n}" for n in range(count)]
    )
    return anndata.AnnData(numbers.poisson(rates).astype(np.float32), obs=described)
