"""Functions of torch, wherever modules have imported them: attention, weighted losses, detach."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from faultlab.catalogue.injection_points import Attention, ClassWeights, StopGradient
from faultlab.core.patching import Patches
from faultlab.frameworks.torch.step_calls import WEIGHTED, calling_line, class_weights, stops_gradient, unequal
from faultlab.injection import attention as attentions
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

Make = Callable[[str, Callable[..., Any]], Callable[..., Any]]


@hooks(Attention)
def attention(point: Attention, patches: Patches, armed: Armed, site: Site) -> None:
    def make(name: str, attend: Callable[..., Any]) -> Callable[..., Any]:
        def attending(*args: Any, **kwargs: Any) -> Any:
            if not armed.due():
                return attend(*args, **kwargs)
            with armed.putting_in():
                given = attentions.named(name, args, kwargs)
                found = attentions.attending(name, given)
            new = armed.map(found)
            if new is found:
                return attend(*args, **kwargs)
            rest = args[len(attentions.FUNCTIONS[name]) :]
            with armed.putting_in():
                changed = attentions.arguments(name, given, new)
            known = [changed.pop(argument) for argument in attentions.FUNCTIONS[name][: len(args)]]
            return attend(*known, *rest, **changed)

        return attending

    def slowly(is_enabled: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: not armed.due() and is_enabled()

    _replace(attentions.FUNCTIONS, make, patches)
    # The fast path of an evaluation calls none of these functions.
    patches.wrap(torch.backends.mha, "get_fastpath_enabled", slowly)


@hooks(ClassWeights)
def weights_of_classes(point: ClassWeights, patches: Patches, armed: Armed, site: Site) -> None:
    def make(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
        keyword, position = WEIGHTED[name]

        def computing(*args: Any, **kwargs: Any) -> Any:
            weights = class_weights(name, args, kwargs)
            if not unequal(weights) or not armed.due():
                return compute(*args, **kwargs)
            new = armed.map(weights)
            if len(args) > position:
                return compute(*args[:position], new, *args[position + 1 :], **kwargs)
            return compute(*args, **{**kwargs, keyword: new})

        return computing

    _replace(WEIGHTED, make, patches)


@hooks(StopGradient)
def stopped_gradient(point: StopGradient, patches: Patches, armed: Armed, site: Site) -> None:
    lines = armed.profile.first_step.stops

    def make(detach: Callable[..., Any]) -> Callable[..., Any]:
        def detaching(tensor: torch.Tensor) -> Any:
            detached = detach(tensor)
            stops = stops_gradient(torch.Tensor.detach, [tensor]) and calling_line() in lines
            if not stops or not armed.due("train"):
                return detached
            armed.ctx.memory["attached"] = tensor
            try:
                return armed.map(detached)
            finally:
                del armed.ctx.memory["attached"]

        return detaching

    patches.wrap(torch.Tensor, "detach", make)


def _replace(names: Collection[str], make: Make, patches: Patches) -> None:
    functions = {getattr(functional, name): name for name in names}
    patches.wrap_imported(functions, lambda compute: make(functions[compute], compute), _looks_at)


def _looks_at(module: ModuleType) -> bool:
    # Torch's own modules call them as parts of each other.
    return module is functional or module.__name__.partition(".")[0] != "torch"
