"""The guard that checks that dropout drops some values in training and none in evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import listening, pace, trainer_state, trials
from faultlab.guards.support.training_view import TrainingView


class DropoutAlive(Guard):
    """A guard against dropout layers that drop nearly everything, or another share than their rate.

    Layers are observed once per epoch, in the first training batch and in the first validation batch. A layer in eval
    mode among frozen weights, and calls without gradients, are ignored. Layers within a compiled network can't be
    observed.

    Args:
        most: The lowest rate that is too high for a layer, from 0 to 1.
        rates: The expected rate of every layer, or its lowest and highest. None if any rate below ``most`` is fine.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "drops-nearly-all": "the rate of a layer leaves next to nothing",
        "other-rate": "the rate of a layer differs from the declared one",
        "drops-nothing": "a layer with a rate drops nothing in training",
        "drops-in-validation": "a layer drops values in validation",
    }
    causes = {
        "drops-nearly-all": "dropout, scaled",
        "other-rate": "dropout, layer",
        "drops-nothing": "dropout, layer, training mode, output",
        "drops-in-validation": "dropout, training mode, validation_step",
    }

    def __init__(
        self,
        most: float = 0.9,
        rates: float | tuple[float, float] | None = None,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.most = most
        self.rates = (rates, rates) if isinstance(rates, (int, float)) else rates
        self._seen: dict[str, tuple[float, float]] = {}

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        layers = [(name, part) for name, part in pl_module.named_modules() if isinstance(part, _DropoutNd)]
        total = [f"{name} (p={part.p:g})" for name, part in layers if part.p >= self.most and _reached(part)]
        if total:
            self.alarm(
                "drops-nearly-all",
                f"dropout in {trainer_state.names(total)} drops nearly everything: the layers before it hardly learn",
                "Set the rate to the share to drop, not the share to keep.",
            )
        if self.rates is not None:
            low, high = self.rates
            other = [f"{name} (p={part.p:g})" for name, part in layers if not low <= part.p <= high]
            if other:
                self.alarm(
                    "other-rate",
                    f"the rate of dropout in {trainer_state.names(other)} is not the declared one, {low:g} to {high:g}",
                    "Check that the setting is passed to the layer, under the name that the layer reads.",
                )

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._listen(pl_module, training=True)

    @pace.sparse
    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.ears:
            return
        # Among that many values some would have been dropped.
        idle = [name for name, (share, expected) in self._stop().items() if expected >= 30 and share == 0]
        idle = [name for name in idle if not _rests(pl_module, name)]
        if idle and pl_module.training:
            self.alarm(
                "drops-nothing",
                f"dropout in {trainer_state.names(idle)} has a rate, but drops nothing in {self.batch_name(batch_idx)}",
                "Check that the layer is in training mode and that its output is used.",
            )

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        if batch_idx == 0 and not self.ears:
            self._listen(pl_module, training=False)

    def on_validation_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        seen = self._stop()
        dropping = [name for name, (share, _) in seen.items() if share > 0]
        # Some keep dropout on in validation on purpose, for single layers. It is a mistake if the whole module is in
        # training mode.
        if dropping and pl_module.training:
            self.alarm(
                "drops-in-validation",
                f"dropout in {trainer_state.names(dropping)} drops values in validation",
                f"Look for train() in {self.terms.within_validation}: the module is in training mode.",
            )

    def _listen(self, pl_module: Any, training: bool) -> None:
        self._stop()
        self._seen = {}
        for name, part in listening.parts(pl_module):
            if type(part) in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d) and part.p > 0:
                self.ears.after(part, _watcher(name, self._seen, training))

    def _stop(self) -> dict[str, tuple[float, float]]:
        self.ears.rest()
        seen, self._seen = self._seen, {}
        return seen


def _rests(pl_module: Any, name: str) -> bool:
    """Return whether a layer is in eval mode on purpose, since the part that it belongs to is frozen."""
    if pl_module.get_submodule(name).training:
        return False
    while name := name.rpartition(".")[0]:
        around = [*pl_module.get_submodule(name).parameters()]
        if around:
            return not any(parameter.requires_grad for parameter in around)
    return False


def _watcher(name: str, seen: dict[str, tuple[float, float]], training: bool) -> Any:
    def watch(module: Any, args: Any, output: Any) -> None:
        if training and not torch.is_grad_enabled():  # a teacher network, or a look at the current state
            return
        if trials.trying() or not args or not isinstance(args[0], torch.Tensor) or module.inplace or name in seen:
            return
        # One look at a part is enough, and values that were zero before show nothing.
        into, out = args[0].detach().reshape(-1)[:4096], output.detach().reshape(-1)[:4096]
        alive = (into != 0) & into.isfinite()
        count = int(alive.sum())
        whole = type(module) is nn.Dropout
        seen[name] = (float((alive & (out == 0)).sum()) / max(1, count), module.p * count if whole else 0.0)

    return watch


def _reached(layer: Any) -> bool:
    return bool(layer.training)
