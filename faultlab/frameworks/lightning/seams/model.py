"""The model and its configuration: architecture, weights, optimizers and schedulers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from faultlab.catalogue.injection_points import Architecture, Optimizers, OptimizerState, Sharding, Weights
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME
from faultlab.frameworks.torch.optimizers import held_optimizers
from faultlab.frameworks.torch.states import configuration, identities, memories, replaced, structure, values
from faultlab.injection.hooks import Site, hooks
from faultlab.ranks import shards

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
            armed.in_place(module, structure)
            if armed.activations > before:
                changed.add(module)
                armed.replaced.update(replaced(parts, module))

    def configuring(configure: Callable[..., Any]) -> Callable[..., Any]:
        def later(*args: Any, **kwargs: Any) -> Any:
            change(site.present(armed.clock))
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
                module = site.present(armed.clock)
                with shards.at_hand(module):
                    armed.in_place(module, values)
            return step(*args, **kwargs)

        return around

    patches.wrap(site.owner("training_step"), "training_step", make)


@hooks(Sharding, framework=NAME)
def sharding(point: Sharding, patches: Patches, armed: Armed, site: Site) -> None:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            if armed.due("train"):
                armed.in_place(shards.fully_sharded(site.present(armed.clock)), shards.settings)
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
            module = armed.ctx.module or site.present(armed.clock)
            return armed.map(result, lambda result: [configuration(result), identities(module)])

        return mapped

    patches.wrap(site.owner("configure_optimizers"), "configure_optimizers", make)


@hooks(OptimizerState, framework=NAME)
def optimizer_state(point: OptimizerState, patches: Patches, armed: Armed, site: Site) -> None:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            if armed.due("train"):
                optimizers = held_optimizers(site.present(armed.clock), armed.clock.trainer)
                armed.in_place(optimizers, memories)
            return step(*args, **kwargs)

        return around

    patches.wrap(site.owner("training_step"), "training_step", make)
