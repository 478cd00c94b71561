"""Metrics for failures that are a matter of degree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support import announcement, batch_view
from faultlab.guards.support.callback import Callback
from faultlab.guards.support.trainer_view import view_of
from faultlab.guards.support.training_view import TrainingView

NONFINITE = "faultlab/nonfinite_loss_share"
SUPERVISED = "faultlab/supervised_share"


class LoggedShares(Callback):
    """A callback that logs shares of failing values, for failures that are a matter of degree.

    It logs two metrics at the Trainer's ``log_every_n_steps``, each over the steps since it last did:
    ``faultlab/nonfinite_loss_share`` is the share of losses passed to backward that are NaN or infinite.
    ``faultlab/supervised_share`` is the share of labels other than ``ignore_index``, if labels are integers and there
    are several for each sample, such as tokens or pixels.

    The metrics are sent only to the loggers, not to callbacks or the progress bar. `all` leaves this callback out,
    since it adds metrics to your logs and counts labels at every step.

    Args:
        ignore_index: The label that the loss ignores.
    """

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index
        self._logged = -1
        # Tensors until they are logged, so that the device is synchronized only then.
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
        # With accumulated gradients several batches belong to one step.
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
