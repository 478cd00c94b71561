"""Guards for the campaign tests: one that is right, one that cries wolf, one that only warns."""

from __future__ import annotations

import warnings
from typing import Any

import pytorch_lightning as pl
import torch


class FiniteLoss(pl.Callback):
    """Raises on a loss that is not finite."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not torch.isfinite(torch.as_tensor(outputs["loss"])):
            raise ValueError("the loss is not finite")


class Stopper(pl.Callback):
    """Asks the Trainer to stop when the loss explodes."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        trainer.should_stop = trainer.should_stop or not bool(torch.as_tensor(outputs["loss"]) < 1e3)


class Warner(pl.Callback):
    """Only warns of NaN."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if torch.isnan(torch.as_tensor(outputs["loss"])):
            warnings.warn("the loss is NaN", stacklevel=1)


class CriesWolf(pl.Callback):
    """Raises on every run."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        raise RuntimeError("wolf")


class WithHelper(pl.Callback):
    """Has a method that looks like a hook and is none."""

    def on_loss(self, value: float) -> None:
        if value != value:
            raise ValueError("the loss is NaN")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.on_loss(float(outputs["loss"]))


def with_instance_hook() -> pl.Callback:
    """A LambdaCallback, whose hooks are attributes of the instance."""

    def check(trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if torch.isnan(outputs["loss"]):
            raise ValueError("the loss is NaN")

    return pl.callbacks.LambdaCallback(on_train_batch_end=check)
