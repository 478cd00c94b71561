"""A training whose runs are known good."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from faultlab.guards import KnownGoodRecorder
from tests.guards.rig import QUIET, Healthy, loaders


class Declared(Healthy):
    """A module that declares its hyperparameters."""

    def __init__(self, rate: float = 0.02) -> None:
        super().__init__()
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["rate"])


def train(callback: pl.Callback, seed: int = 0, module: type[Healthy] = Declared, **arguments: Any) -> None:
    torch.manual_seed(seed)
    made = module(**arguments.pop("made", {}))
    data = arguments.pop("data", None) or loaders()
    if (lasting := arguments.pop("then", None)) is not None:
        lasting(made)
    pl.Trainer(**{"max_epochs": 2, **QUIET, **arguments}, callbacks=callback).fit(made, *data)


def summary(seed: int, **arguments: Any) -> dict[str, Any]:
    recorder = KnownGoodRecorder()
    train(recorder, seed, **arguments)
    assert recorder.summary is not None
    return recorder.summary
