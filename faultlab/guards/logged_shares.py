"""Shares as logged metrics, for what is a matter of degree where an alarm says yes or no."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support import announcement, batch_view
from faultlab.guards.support.lightning_callback import Callback
from faultlab.guards.support.lightning_view import view_of
from faultlab.guards.support.training_view import TrainingView

NONFINITE = "faultlab/nonfinite_loss_share"
SUPERVISED = "faultlab/supervised_share"


class LoggedShares(Callback):
    """Logs, at the Trainer's ``log_every_n_steps``, shares of what came by since it last did.

    ``faultlab/nonfinite_loss_share`` is that of the losses going into backward that are NaN or infinite, and
    ``faultlab/supervised_share`` that of the labels other than ``ignore_index``, where labels are whole numbers and
    more than one a sample, as of tokens and pixels.

    They go to the loggers alone: what callbacks and the progress bar see stays as it was. It has to be asked for, since
    it adds metrics to the logs of whoever has it, and counts labels at every step.

    Args:
        ignore_index: The label that the loss leaves out.
    """

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index
        self._logged = -1
        # Tensors as long as nobody asks, so that a device is waited for only where its numbers are logged.
        self._bad: Any = 0
        self._supervised: Any = 0
        self._losses = self._labels = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._clear()
        self._logged = -1

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        if isinstance(loss, Tensor):
            self._bad = self._bad + (~torch.isfinite(loss.detach())).any()
            self._losses += 1

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        labels = batch_view.look(batch).labels
        if labels is not None and labels.dim() > 1 and not (labels.is_floating_point() or labels.dtype == torch.bool):
            self._supervised = self._supervised + (labels != self.ignore_index).sum()
            self._labels += labels.numel()
        batch_view.forget()
        view = view_of(trainer)
        step, interval = view.logged_step, view.log_every_n_steps
        # Several batches are of one step where gradients are accumulated.
        if interval and step != self._logged and (step + 1) % interval == 0:
            self._logged = step
            self._log(view)

    def _log(self, trainer: TrainingView) -> None:
        found = {}
        if self._losses:
            found[NONFINITE] = float(self._bad) / self._losses
        if self._labels:
            found[SUPERVISED] = float(self._supervised) / self._labels
        self._clear()
        if found:
            announcement.record(trainer, found)

    def _clear(self) -> None:
        self._bad = self._supervised = self._losses = self._labels = 0
