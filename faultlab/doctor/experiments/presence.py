"""In the victim: which parts that an experiment can change are in use in a training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules.dropout import _DropoutNd
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import sampler

from faultlab.core.patching import Patches
from faultlab.doctor import momentum
from faultlab.doctor.experiments.changes import layers
from faultlab.frameworks.torch.optimizers import rate_in

_MOST = 4
# Set for speed or by what they are for, not for how the weights move.
_APART = ("lr", "params", "weight_decay", "foreach", "fused", "capturable", "differentiable", "maximize")


class Presence:
    """Watches a training for parts that experiments change.

    Attributes:
        parts: Names of changes that would make a difference here.
        settings: The optimizers' settings that are not their classes' defaults, by class: name, value and default.
        momenta: Momentum and weight decay of the optimizers, by class.
    """

    def __init__(self) -> None:
        self.parts: set[str] = set()
        self.settings: dict[str, list[tuple[str, Any, Any]]] = {}
        self.momenta: dict[str, tuple[float, float]] = {}
        self._rates: dict[int, float] = {}

    def attach(self, patches: Patches) -> None:
        """Watch until the patches are removed."""
        patches.wrap(torch.autocast, "__init__", self._casting)
        for one in (sampler.SequentialSampler, sampler.WeightedRandomSampler):
            patches.wrap(one, "__iter__", self._noting("order"))
        patches.on_exit(register_optimizer_step_pre_hook(self._stepping).remove)

    def _noting(self, part: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(call: Callable[..., Any]) -> Callable[..., Any]:
            def around(*args: Any, **kwargs: Any) -> Any:
                self.parts.add(part)
                return call(*args, **kwargs)

            return around

        return make

    def _casting(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def around(context: Any, device: str, dtype: Any = None, enabled: bool = True, *args: Any, **more: Any) -> None:
            if enabled:
                self.parts.add("precision")
            construct(context, device, dtype, enabled, *args, **more)

        return around

    def _stepping(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._rates and any(isinstance(one, _DropoutNd) and one.p > 0 for one in layers()):
            self.parts.add("dropout")
        for number, group in enumerate(optimizer.param_groups):
            if group.get("weight_decay"):
                self.parts.add("decay")
            rate, key = rate_in(group, "lr"), id(optimizer) + number
            if rate is not None and self._rates.setdefault(key, rate) != rate:
                self.parts.add("schedule")
        name = type(optimizer).__name__
        if name not in self.settings and len(self.settings) < _MOST:
            self.settings[name] = _unusual(optimizer)
            self.momenta[name] = momentum.of_optimizer(optimizer)


def _unusual(optimizer: Any) -> list[tuple[str, Any, Any]]:
    usual = {name: one.default for name, one in inspect.signature(type(optimizer).__init__).parameters.items()}
    group = optimizer.param_groups[0]
    return [
        (name, value, usual[name])
        for name, value in group.items()
        if name not in _APART and name in usual and isinstance(value, (int, float, tuple)) and value != usual[name]
    ]
