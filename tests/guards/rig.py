"""The training for tests of guards: a small healthy module. Tests break it by overriding its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab.guards import Alarm, Guard, GuardSet

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Healthy(pl.LightningModule):
    """Classifies points by their side of a line, with everything that a guard may look at."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        logits = self(batch[0])
        accuracy = (logits.argmax(dim=1) == batch[1]).float().mean()
        self.log_dict({"val_loss": F.cross_entropy(logits, batch[1]), "val_accuracy": accuracy})

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02)


def points(n: int = 128, seed: int = 0) -> TensorDataset:
    """Return points in four dimensions, ``float32[n, 4]``, and the side of each, ``int64[n]``."""
    inputs = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs @ torch.tensor([1.0, -1.0, 0.5, 0.2]) > 0).long())


def loaders(batch_size: int = 16) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return a training and a validation loader over different points."""
    return DataLoader(points(), batch_size=batch_size, shuffle=True), DataLoader(points(64, seed=1), batch_size=32)


def fit(
    guards: Guard | GuardSet | Sequence[pl.Callback],
    module: pl.LightningModule | None = None,
    train: Any = None,
    validation: Any = None,
    root: Path | str | None = None,
    **trainer: Any,
) -> pl.Trainer:
    """Train under the guards from seed 0, two epochs by default, and raise their alarms unchanged."""
    torch.manual_seed(0)
    module = Healthy() if module is None else module
    usual = loaders()
    arguments = {"max_epochs": 2, **QUIET, "callbacks": guards, **trainer}
    made = pl.Trainer(**arguments, default_root_dir=root)
    made.fit(module, usual[0] if train is None else train, usual[1] if validation is None else validation)
    return made


def alarm_of(guards: Guard | GuardSet | Sequence[pl.Callback], *args: Any, **kwargs: Any) -> Alarm | None:
    """Return the alarm that ended the training, None if there was none."""
    try:
        fit(guards, *args, **kwargs)
    except Alarm as alarm:
        return alarm
    return None


class Streamed:
    """A loader of ``count`` batches without a length."""

    def __init__(self, count: int, batch_size: int = 16) -> None:
        self._loader = DataLoader(points(count * batch_size), batch_size=batch_size)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)


class Plan(Healthy):
    """Learns by itself: the Trainer only has an optimizer for a placeholder, and no part in the steps.

    Like plans for the optimizers of other frameworks, it returns the loss.
    """

    learns = True

    def configure_optimizers(self) -> Any:
        own = torch.optim.Adam(self.parameters(), lr=0.02)
        object.__setattr__(self, "own", own)
        return torch.optim.Adam([nn.Parameter(torch.zeros(1))])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        if self.learns:
            loss.backward()
            self.own.step()
            self.own.zero_grad(set_to_none=False)
        return torch.tensor(float(loss.detach()), requires_grad=True)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer_closure()
