"""The guard that checks that BatchNorm learns plausible running statistics, and that nothing else writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import listening, pace
from faultlab.guards.support.training_view import TrainingView

_STOCK = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class NormalisationAlive(Guard):
    """A guard against BatchNorm layers whose running statistics don't move, are invalid, or are overwritten.

    It looks at the layers that train: in training mode, with weights that require gradients or without weights. Frozen
    layers, those that follow another network (momentum encoders), and classes derived from torch's are ignored.
    Compiled code writes the statistics itself, so that other writes can't be distinguished there.

    Values are checked in an eighth of the steps that the guard looks at, once per epoch, and whenever something has
    written them. Between steps they may be written, as averaging callbacks do.

    Args:
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "not-finite": "running statistics are NaN or infinite, or a variance is negative",
        "overwritten": "running statistics were written in a training step, but not by their layer",
        "no-momentum": "the momentum is zero, so that running statistics never move",
        "standstill": "no running statistics moved in a whole epoch",
        "moved-in-validation": "running statistics moved in validation",
    }
    causes = {
        "not-finite": "running statistics, batchnorm, not finite, nan, infinite, buffer, negative variance, "
        "noise, average, reset, output, validation, mode",
        "overwritten": "running statistics, batchnorm, buffer, copies, average, validation, training, mode",
        "no-momentum": "running statistics, batchnorm, momentum, average, weight, validation",
        "standstill": "running statistics, batchnorm, training mode, layer",
        "moved-in-validation": "running statistics, batchnorm, training mode, validation_step, moved",
    }

    def __init__(self, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self._forget()

    def _forget(self) -> None:
        self._layers: list[tuple[str, Any]] = []
        self._statistics: list[Tensor] = []
        self._written: list[int] = []
        self._compiled: set[str] = set()
        self._seen: list[int] = []
        self._steps = 0
        self._rested = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_layers": [], "_statistics": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._find(pl_module)
        still = [name for name, layer in self._layers if layer.momentum == 0]
        if still:
            self.alarm(
                "no-momentum",
                f"the momentum of BatchNorm in {_named(still)} is 0: its running statistics never change, and "
                "validation uses them",
                "Set the momentum to the weight of a new value, usually 0.1, or to None for a plain average.",
            )

    @pace.sparse
    def on_train_epoch_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._find(pl_module)
        self._seen = [_count(layer) for _, layer in self._layers]

    def _find(self, pl_module: Any) -> None:
        found = [(name, part) for name, part in pl_module.named_modules() if type(part) in _STOCK and _trains(part)]
        self._layers = [(name, part) for name, part in found if isinstance(part.running_mean, Tensor)]
        heard = {name for name, _ in listening.parts(pl_module)}
        self._compiled = {name for name, _ in self._layers if name not in heard}
        self._statistics = [part.running_mean for _, part in self._layers]
        self._statistics += [part.running_var for _, part in self._layers]
        # Counts of other statistics are not comparable.
        self._written = []

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        looks = pace.due(trainer)
        self._rested |= not looks
        self._written = [statistic._version for statistic in self._statistics] if looks else []

    @pace.sparse
    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Tensor) -> None:
        if self._written:
            self._judge_writes("a training step")

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._layers:
            return
        self._steps += 1
        if self._written:
            # Values written by something else are checked at the write; bad values from a batch also show in the loss.
            if self._rested or self._steps % 8 == 1:
                self._rested = False
                self._judge_values(self.batch_name(batch_idx))
            self._judge_writes(self.batch_name(batch_idx))

    def _judge_writes(self, where: str) -> None:
        # The layer's own update is not counted as a write, since torch's kernels don't advance the version.
        written = [statistic._version for statistic in self._statistics]
        if written != self._written:
            changed = [
                i % len(self._layers) for i, (a, b) in enumerate(zip(written, self._written, strict=True)) if a != b
            ]
            self._written = written
            self._judge_values(where)
            touched = [self._layers[i][0] for i in sorted(set(changed)) if self._layers[i][1].training]
            touched = [name for name in touched if name not in self._compiled]
            if touched:
                self.alarm(
                    "overwritten",
                    f"the running statistics of BatchNorm in {_named(touched)} were overwritten within {where}, not "
                    "by the layer: validation will use them, training does not",
                    "Look for copies and averages of the model's buffers, and for load_state_dict within a step.",
                )

    def _judge_values(self, where: str) -> None:
        total = float(torch.stack(torch._foreach_norm(self._statistics)).sum())
        if math.isfinite(total):
            return
        bad = [
            name
            for name, layer in self._layers
            if not (torch.isfinite(layer.running_mean).all() and torch.isfinite(layer.running_var).all())
        ]
        if bad:
            self.alarm(
                "not-finite",
                f"the running statistics (buffers) of BatchNorm in {_named(bad)} are NaN or infinite, and thus not "
                f"finite, after {where}, and so will be every output in validation",
                "Look at the inputs of this batch, since one bad batch is enough, and call reset_running_stats() "
                "after it.",
            )

    @pace.sparse
    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        training = [(layer, seen) for (_, layer), seen in zip(self._layers, self._seen, strict=False) if layer.training]
        moves = not training or any(seen < 0 or _count(layer) != seen for layer, seen in training)
        if self._steps and len(training) == len(self._layers) and not moves:
            self.alarm(
                "standstill",
                f"no running statistics of BatchNorm moved in epoch {trainer.current_epoch}, in "
                f"{_named([name for name, _ in self._layers])}",
                "Check that the layers run in training, and in training mode.",
            )
        if self._layers:
            self._judge_values(f"epoch {trainer.current_epoch}")
        negative = [name for name, layer in self._layers if bool((layer.running_var < 0).any())]
        if negative:
            self.alarm(
                "not-finite",
                f"the running variance of BatchNorm in {_named(negative)} is negative, which is impossible",
                "Look for averages and noise on the model's buffers: something else than the layer has written them.",
            )
        self._steps = 0
        self._rested = False

    def on_validation_start(self, trainer: TrainingView, pl_module: Any) -> None:
        if not self._layers:
            self._find(pl_module)
        self._seen_before = [_count(layer) for _, layer in self._layers]

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        before = getattr(self, "_seen_before", [])
        pairs = zip(self._layers, before, strict=False)
        moved = [name for (name, layer), count in pairs if count >= 0 and _count(layer) != count]
        self._seen_before = []
        if moved:
            self.alarm(
                "moved-in-validation",
                f"the running statistics of BatchNorm in {_named(moved)} moved in validation: the model has learned "
                "from the validation data",
                f"Look for train() in {self.terms.within_validation}: the layers are in training mode.",
            )


def _trains(layer: Any) -> bool:
    return layer.training and (layer.weight is None or layer.weight.requires_grad)


def _count(layer: Any) -> int:
    """Return how often the layer has processed a batch, by the version of its counter, without reading the device."""
    return layer.num_batches_tracked._version if isinstance(layer.num_batches_tracked, Tensor) else -1


def _named(found: list[str]) -> str:
    shown = ", ".join(found[:3])
    return shown if len(found) <= 3 else f"{shown} and {len(found) - 3} more"
