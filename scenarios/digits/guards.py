"""The checks that a careful user of `LitDigits` would set up, as plain Lightning callbacks.

None of them draws a random number or changes the run: with all of them, training ends identically, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from scenarios.digits.model import NUM_CLASSES


class FiniteLoss(Callback):
    """Raises as soon as a training step returns no loss, or one that is NaN or infinite."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the result of the step."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is None:
            raise RuntimeError(f"FiniteLoss: training_step gave no loss for batch {batch_idx}; does it return one?")
        if not torch.isfinite(loss).all():
            raise RuntimeError(f"FiniteLoss: the loss of batch {batch_idx} is {loss.detach().tolist()}")


class ParametersMove(Callback):
    """Raises if a training step does not change a trainable parameter."""

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the parameters."""
        trainable = ((name, p) for name, p in pl_module.named_parameters() if p.requires_grad)
        self._before = {name: p.detach().clone() for name, p in trainable}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare with the remembered parameters."""
        now = dict(pl_module.named_parameters())
        stuck = [name for name, before in self._before.items() if name in now and torch.equal(before, now[name])]
        if stuck or not self._before:
            raise RuntimeError(f"ParametersMove: batch {batch_idx} did not change {', '.join(stuck) or 'anything'}")


class BatchContract(Callback):
    """Raises at a batch that is not `(float32[n, 1, 8, 8] in [0, 1], int64[n] in 0..9)`."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Check a training batch."""
        self._check(batch, f"training batch {batch_idx}")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Check a validation batch."""
        self._check(batch, f"validation batch {batch_idx}")

    def _check(self, batch: Any, where: str) -> None:
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(x, Tensor) for x in batch)):
            raise TypeError(f"BatchContract: {where} is not a pair of tensors")
        images, labels = batch
        if images.dtype != torch.float32 or labels.dtype != torch.int64:
            raise TypeError(f"BatchContract: {where} has images of {images.dtype} and labels of {labels.dtype}")
        if len(images) == 0 or images.shape[1:] != (1, 8, 8) or labels.shape != images.shape[:1]:
            raise ValueError(f"BatchContract: {where} has shapes {tuple(images.shape)} and {tuple(labels.shape)}")
        # Not as `min < 0 or max > 1`: a NaN would pass.
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"BatchContract: {where} has pixels outside [0, 1] or NaN")
        if not (labels.min() >= 0 and labels.max() < NUM_CLASSES):
            raise ValueError(f"BatchContract: {where} has labels outside 0..{NUM_CLASSES - 1}")


class LossBeatsChance(Callback):
    """Raises if, after an epoch, the loss is not below that of guessing among ten classes."""

    def __init__(self, metric: str = "val_loss") -> None:
        self.metric = metric

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the metric, which validation has just logged, with ln(10)."""
        if self.metric not in trainer.callback_metrics:
            raise RuntimeError(f"LossBeatsChance: {self.metric} was never logged in the epoch")
        loss, chance = float(trainer.callback_metrics[self.metric]), math.log(NUM_CLASSES)
        # Not as `loss >= chance`: a NaN would pass.
        if not loss < chance:
            raise RuntimeError(f"LossBeatsChance: {self.metric} is {loss:.3f}, guessing gives {chance:.3f}")


class EvaluationMode(Callback):
    """Raises if validation runs with a layer in training mode, where dropout drops and BatchNorm learns."""

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Check the mode of every layer."""
        training = [name or "the module" for name, layer in pl_module.named_modules() if layer.training]
        if training:
            raise RuntimeError(f"EvaluationMode: in training mode during validation: {', '.join(training)}")
