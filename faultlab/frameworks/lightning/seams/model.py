"""The model and its configuration: architecture, weights, optimizers and schedulers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from faultlab.catalogue.injection_points import Architecture, Optimizers, OptimizerState, Weights
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME
from faultlab.frameworks.torch.optimizers import held_optimizers, optimizers_in, schedulers_in
from faultlab.injection import tree
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Architecture, framework=NAME)
def architecture(point: Architecture, patches: Patches, armed: Armed, site: Site) -> None:
    changed: weakref.WeakSet[nn.Module] = weakref.WeakSet()
    known = site.module

    def change(module: nn.Module) -> None:
        before = armed.activations
        done = bool(before) if known is not None else module in changed
        if not done and armed.due("train"):
            parts = dict(module.named_modules(remove_duplicate=False))
            armed.in_place(module, _structure)
            if armed.activations > before:
                changed.add(module)
                armed.replaced.update(_replaced(parts, module))

    def configuring(configure: Callable[..., Any]) -> Callable[..., Any]:
        def later(*args: Any, **kwargs: Any) -> Any:
            change(site.present(armed.clock.trainer))
            return configure(*args, **kwargs)

        return later

    def constructing(construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructed(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            construct(module, *args, **kwargs)
            if type(module) is site.cls:
                change(module)

        return constructed

    if known is not None:
        change(known)
    else:
        patches.wrap(site.cls, "__init__", constructing)
    patches.wrap(site.owner("configure_optimizers"), "configure_optimizers", configuring)


@hooks(Weights, framework=NAME)
def weights(point: Weights, patches: Patches, armed: Armed, site: Site) -> None:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            if armed.due("train"):
                module = site.present(armed.clock.trainer)
                armed.in_place(module, _values)
            return step(*args, **kwargs)

        return around

    patches.wrap(site.owner("training_step"), "training_step", make)


@hooks(Optimizers, framework=NAME)
def optimizers(point: Optimizers, patches: Patches, armed: Armed, site: Site) -> None:
    def make(configure: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(*args: Any, **kwargs: Any) -> Any:
            result = configure(*args, **kwargs)
            if not armed.due("train"):
                return result
            module = armed.ctx.module or site.present(armed.clock.trainer)
            return armed.map(result, lambda result: [_configuration(result), _identities(module)])

        return mapped

    patches.wrap(site.owner("configure_optimizers"), "configure_optimizers", make)


@hooks(OptimizerState, framework=NAME)
def optimizer_state(point: OptimizerState, patches: Patches, armed: Armed, site: Site) -> None:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            if armed.due("train"):
                optimizers = held_optimizers(site.present(armed.clock.trainer), armed.clock.trainer)
                armed.in_place(optimizers, _memories)
            return step(*args, **kwargs)

        return around

    patches.wrap(site.owner("training_step"), "training_step", make)


def _configuration(result: Any) -> list[Any]:
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


def _identities(module: nn.Module | None) -> list[int]:
    return [] if module is None else [id(parameter) for parameter in module.parameters()]


def _memories(optimizers: list[torch.optim.Optimizer]) -> list[Any]:
    return [[_copied(state) for state in optimizer.state.values()] for optimizer in optimizers]


def _copied(state: Any) -> Any:
    return tree.map_tensors(state, lambda tensor: tensor.detach().clone()) if isinstance(state, Mapping) else state


def _replaced(before: Mapping[str, nn.Module], module: nn.Module) -> dict[str, nn.Module]:
    """Return the submodules that are no longer in their place, without those inside of other such submodules."""
    after = dict(module.named_modules(remove_duplicate=False))
    gone = {path for path, part in before.items() if after.get(path) is not part}
    return {path: before[path] for path in before if path in gone and path.rpartition(".")[0] not in gone}


def _structure(module: nn.Module) -> list[Any]:
    layers = [
        (name, id(part), type(part).__name__, part.extra_repr(), part.training) for name, part in module.named_modules()
    ]
    return [getattr(module, "automatic_optimization", None), layers, _values(module)]


def _values(module: nn.Module) -> list[Any]:
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, tensor.requires_grad, _content(tensor)) for name, tensor in tensors]


def _content(tensor: torch.Tensor) -> Any:
    """Return the tensor's values; its identity if it can't be compared (not yet initialized, or sparse)."""
    if is_lazy(tensor) or tensor.layout is not torch.strided:
        return id(tensor)
    return tensor.detach().clone()
