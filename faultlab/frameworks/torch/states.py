"""The state that an in-place injector may change, as values that can be compared before and after it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from faultlab.frameworks.torch.optimizers import optimizers_in, schedulers_in
from faultlab.injection import tree


def configuration(result: Any) -> list[Any]:
    """Return optimizers' classes, parameters and settings, and the attributes of schedulers."""
    found: list[Any] = []
    for optimizer in optimizers_in(result):
        for group in optimizer.param_groups:
            settings = sorted((key, repr(value)) for key, value in group.items() if key != "params")
            found.append([type(optimizer).__name__, [id(parameter) for parameter in group["params"]], settings])
    schedulers = [
        [id(getattr(scheduler, "optimizer", None)), repr(sorted(map(repr, vars(scheduler).items())))]
        for scheduler in schedulers_in(result)
    ]
    return [found, schedulers]


def identities(module: nn.Module | None) -> list[int]:
    """Return the identity of each parameter."""
    return [] if module is None else [id(parameter) for parameter in module.parameters()]


def memories(optimizers: list[torch.optim.Optimizer]) -> list[Any]:
    """Return what each optimizer remembers."""
    return [[_copied(state) for state in optimizer.state.values()] for optimizer in optimizers]


def _copied(state: Any) -> Any:
    return tree.map_tensors(state, lambda tensor: tensor.detach().clone()) if isinstance(state, Mapping) else state


def replaced(before: Mapping[str, nn.Module], module: nn.Module) -> dict[str, nn.Module]:
    """The submodules that are no longer where they were, without those inside of others that are not."""
    after = dict(module.named_modules(remove_duplicate=False))
    gone = {path for path, part in before.items() if after.get(path) is not part}
    return {path: before[path] for path in before if path in gone and path.rpartition(".")[0] not in gone}


def structure(module: nn.Module) -> list[Any]:
    """Return the layers of a module, how they are set up, their values, and which of these they share."""
    layers = [
        (name, id(part), type(part).__name__, part.extra_repr(), part.training) for name, part in module.named_modules()
    ]
    tensors = [id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False)]
    sharing = [tensors.index(one) for one in tensors]
    return [getattr(module, "automatic_optimization", None), layers, values(module), sharing]


def values(module: nn.Module) -> list[Any]:
    """Return all parameters and buffers by name."""
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, tensor.requires_grad, _content(tensor)) for name, tensor in tensors]


def _content(tensor: torch.Tensor) -> Any:
    """The tensor's values; its identity where it has none to compare (not yet initialised, or sparse)."""
    if is_lazy(tensor) or tensor.layout is not torch.strided:
        return id(tensor)
    return tensor.detach().clone()


def mode(module: torch.nn.Module) -> list[bool]:
    """Return whether gradients are on, whether autocast is, and the mode of each submodule."""
    return [torch.is_grad_enabled(), _autocasts(module), *(part.training for part in module.modules())]


def _autocasts(module: torch.nn.Module) -> bool:
    device = getattr(module, "device", torch.device("cpu"))
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def random_state(_: Any) -> list[Any]:
    """Return the state of torch's, Python's and NumPy's random numbers."""
    import numpy

    return [torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()]  # type: ignore[index]


def held(optimizer: Any) -> list[torch.Tensor]:
    """Return a copy of each parameter that the optimizer holds."""
    return [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
