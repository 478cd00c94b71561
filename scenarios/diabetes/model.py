"""A small regression of diabetes progression on the ten measurements that scikit-learn bundles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

NUM_FEATURES = 10
Split = tuple[Tensor, Tensor]
Batch = Sequence[Tensor]  # a DataLoader collates pairs into a list of two


@lru_cache(maxsize=4)
def load_splits(split_seed: int) -> dict[str, Split]:
    """Return the splits (70/15/15) as features, `float32[n, 10]`, and target, `float32[n, 1]`, both standardized.

    Cached, since reading the bundled file takes about as long as one whole fit.
    """
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    # By default, scikit-learn returns features that are scaled with all rows, so validation would leak into training.
    features, target = load_diabetes(return_X_y=True, scaled=False)
    target = target.reshape(-1, 1)

    train, held_out = train_test_split(range(len(target)), test_size=0.3, random_state=split_seed)
    validation, test = train_test_split(held_out, test_size=0.5, random_state=split_seed)

    features = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    target = (target - target[train].mean(axis=0)) / target[train].std(axis=0)

    def as_tensors(rows: list[int]) -> Split:
        return torch.tensor(features[rows], dtype=torch.float32), torch.tensor(target[rows], dtype=torch.float32)

    return {"train": as_tensors(train), "validation": as_tensors(validation), "test": as_tensors(test)}


# Read at import, so that processes that are forked later find the default splits in the cache.
load_splits(0)


class DiabetesData(pl.LightningDataModule):
    """The patients in three disjoint splits; the split of a patient depends only on `split_seed`."""

    def __init__(self, batch_size: int = 16, split_seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.splits: dict[str, TensorDataset] = {}

    def setup(self, stage: str) -> None:
        """Build the datasets on copies, so that a change of a sample does not stay in the cache after this run."""
        splits = load_splits(self.hparams["split_seed"])
        self.splits = {name: TensorDataset(x.clone(), y.clone()) for name, (x, y) in splits.items()}

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffle the training split."""
        return DataLoader(self.splits["train"], batch_size=self.hparams["batch_size"], shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return every validation sample once."""
        return DataLoader(self.splits["validation"], batch_size=2 * self.hparams["batch_size"])

    def test_dataloader(self) -> DataLoader[Any]:
        """Return every test sample once."""
        return DataLoader(self.splits["test"], batch_size=2 * self.hparams["batch_size"])


class LitDiabetes(pl.LightningModule):
    """A multilayer perceptron with one hidden layer, trained on the squared error."""

    def __init__(self, hidden: int = 32, learning_rate: float = 0.02, momentum: float = 0.9) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(nn.Linear(NUM_FEATURES, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the predicted progression, standardized, `float32[n, 1]`."""
        return self.network(features)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean squared error on one batch."""
        features, target = batch
        loss = F.mse_loss(self(features), target)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `val_loss` and `val_mae`."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `test_loss` and `test_mae`."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: Batch, stage: str) -> None:
        features, target = batch
        predicted = self(features)
        self.log_dict(
            {
                f"{stage}_loss": F.mse_loss(predicted, target),
                f"{stage}_mae": F.l1_loss(predicted, target),
            }
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD with momentum at a constant rate: the fit is too short for a schedule to matter."""
        return torch.optim.SGD(self.parameters(), lr=self.hparams["learning_rate"], momentum=self.hparams["momentum"])
