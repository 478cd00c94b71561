"""The guard that checks that the running statistics of frozen layers don't change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_view import TrainingView


class FrozenStatistics(Guard):
    """A guard against normalization layers of a frozen network whose statistics drift in training mode.

    It looks at layers that have learned statistics, if they and all weights of their parent are frozen and in no
    optimizer. At the end of an epoch the statistics are compared with those at the start of training. Networks that
    follow another one (teachers, momentum encoders) change their weights too, and are ignored.

    Args:
        shift: How far the mean may move, in standard deviations, averaged over the features.
        spread: How much the logarithm of the variance may change, averaged over the features.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"drift": "the running statistics of a frozen network drift"}
    causes = {
        "drift": "running statistics, frozen network, training mode, eval, requires_grad, layers",
    }

    def __init__(
        self, shift: float = 0.25, spread: float = 0.5, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.shift = shift
        self.spread = spread
        self._layers: list[_Frozen] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_layers": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._layers = []

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        trained = {
            id(p)
            for optimizer in parameter_samples.optimizers_of(trainer)
            for p in parameter_samples.parameters_of(optimizer)
        }
        parts = dict(pl_module.named_modules())
        for name, layer in parts.items():
            if not isinstance(layer, nn.modules.batchnorm._NormBase) or not layer.training or layer.momentum == 0:
                continue
            weights = list(parts[name.rpartition(".")[0]].parameters())
            others = {id(weight) for weight in weights} - {id(weight) for weight in layer.parameters()}
            is_frozen = others and not any(weight.requires_grad or id(weight) in trained for weight in weights)
            if is_frozen and layer.track_running_stats and _has_learned(layer):
                sample = parameter_samples.Sample(weights)
                statistics: Any = layer.running_mean, layer.running_var
                mean, variance = (statistic.clone() for statistic in statistics)
                self._layers.append(_Frozen(name, layer, sample, sample.take(), mean, variance))

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        drifted = [layer.name for layer in self._layers if self._has_drifted(layer)]
        if drifted:
            self.alarm(
                "drift",
                f"the running statistics of {parameter_samples.some(drifted)} drift, though their network is frozen: "
                "the layers are in training mode, and the statistics that they were trained with are lost",
                "Put the frozen part into eval mode at the start of each epoch (on_train_epoch_start), in addition "
                "to requires_grad_(False).",
            )

    def _has_drifted(self, frozen: _Frozen) -> bool:
        if not frozen.layer.training or not torch.equal(frozen.weights.take(), frozen.taken):
            return False
        deviation = (frozen.variance + frozen.layer.eps).sqrt()
        shift = ((frozen.layer.running_mean - frozen.mean).abs() / deviation).mean()
        ratio = (frozen.layer.running_var + frozen.layer.eps) / (frozen.variance + frozen.layer.eps)
        return bool(shift > self.shift or ratio.log().abs().mean() > self.spread)


class _Frozen(NamedTuple):
    """A layer that has to stay unchanged, with the state of it and its parent at the start of training."""

    name: str
    layer: Any
    weights: parameter_samples.Sample
    taken: Tensor
    mean: Tensor
    variance: Tensor


def _has_learned(layer: Any) -> bool:
    """Return whether the statistics differ from those of a new layer, which have to move."""
    if not isinstance(layer.running_mean, Tensor) or not isinstance(layer.running_var, Tensor):
        return False
    return bool(layer.running_mean.any()) or bool((layer.running_var != 1).any())
