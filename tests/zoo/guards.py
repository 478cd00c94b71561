"""Guards for the campaign tests: one that is right, one that cries wolf, one that only warns."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
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


class CriesWolfOnLoading(pl.Callback):
    """Raises where a checkpoint is loaded, on a healthy run too."""

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        raise RuntimeError("wolf")


class WantsWholeTrainings(pl.Callback):
    """Raises where a training ends before its epochs are over."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch < trainer.max_epochs:
            raise RuntimeError("too short")


class LateOnce(pl.Callback):
    """Raises on a loss that is not finite; the first time on this machine it takes its time over that."""

    def __init__(self, marker: str) -> None:
        self._marker = Path(marker)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not torch.isfinite(torch.as_tensor(outputs["loss"])):
            if not self._marker.exists():
                self._marker.touch()
                time.sleep(600)
            raise ValueError("the loss is not finite")


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
