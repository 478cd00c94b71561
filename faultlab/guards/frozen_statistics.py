"""The running statistics of layers that are frozen stay what they were when they were learnt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import parameter_samples
from faultlab.guards.support.training_view import TrainingView


class FrozenStatistics(Guard):
    """Detects normalisation layers of a frozen network that are in training mode, so that their statistics drift.

    It looks at layers whose own weights and whose whole parent are frozen and in no optimizer, and which have learnt
    statistics already. At the end of an epoch these are compared with those of the beginning: an alarm is a mean that
    has moved by ``shift`` standard deviations, or a variance by the factor exp(``spread``), averaged over the features.
    Networks that follow another one (teachers, momentum encoders) change their weights too, and are let pass.
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
            if is_frozen and layer.track_running_stats and _has_learnt(layer):
                sample = parameter_samples.Sample(weights)
                statistics: Any = layer.running_mean, layer.running_var
                mean, variance = (statistic.clone() for statistic in statistics)
                self._layers.append(_Frozen(name, layer, sample, sample.take(), mean, variance))

    def on_train_epoch_end(self, trainer: TrainingView, pl_module: Any) -> None:
        drifted = [layer.name for layer in self._layers if self._has_drifted(layer)]
        if drifted:
            self.alarm(
                "drift",
                f"the running statistics of {parameter_samples.some(drifted)} drift though the network that they "
                "belong to is frozen: the layers are in training mode, and what they were trained to give is lost",
                "Put the frozen part into eval mode at the beginning of each epoch (on_train_epoch_start), beside "
                "requires_grad_(False).",
            )

    def _has_drifted(self, frozen: _Frozen) -> bool:
        if not frozen.layer.training or not torch.equal(frozen.weights.take(), frozen.taken):
            return False
        deviation = (frozen.variance + frozen.layer.eps).sqrt()
        shift = ((frozen.layer.running_mean - frozen.mean).abs() / deviation).mean()
        ratio = (frozen.layer.running_var + frozen.layer.eps) / (frozen.variance + frozen.layer.eps)
        return bool(shift > self.shift or ratio.log().abs().mean() > self.spread)


class _Frozen(NamedTuple):
    """A layer that is to stay as it is, with what it and its parent were when training began."""

    name: str
    layer: Any
    weights: parameter_samples.Sample
    taken: Tensor
    mean: Tensor
    variance: Tensor


def _has_learnt(layer: Any) -> bool:
    """Whether the statistics are others than a new layer's, which have to move."""
    if not isinstance(layer.running_mean, Tensor) or not isinstance(layer.running_var, Tensor):
        return False
    return bool(layer.running_mean.any()) or bool((layer.running_var != 1).any())
