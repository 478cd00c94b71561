"""Gradient clipping by torch's functions, if the module calls those itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import clip_grad

from faultlab.catalogue.injection_points import Clipping
from faultlab.core.patching import Patches
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

BY_HAND = "clip_grad"
_FUNCTIONS = ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_")


@hooks(Clipping)
def by_hand(point: Clipping, patches: Patches, armed: Armed, site: Site) -> None:
    def function(clip: Callable[..., Any]) -> Callable[..., Any]:
        def around(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            if not armed.due("train"):
                return clip(parameters, *args, **kwargs)
            # A generator can be iterated only once.
            clipped = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
            armed.ctx.memory["unclipped"] = lambda: _unclipped(clip, clipped, args, kwargs)
            return armed.around(lambda: clip(clipped, *args, **kwargs))

        return around

    if BY_HAND in armed.profile.hooks:
        wrap_functions(patches, function)


def wrap_functions(patches: Patches, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace torch's functions that clip gradients, under every name that a module imported them by."""
    for owner, name in list(_references()):
        patches.wrap(owner, name, make)


def _references() -> Iterator[tuple[ModuleType, str]]:
    functions = {id(getattr(clip_grad, name)) for name in _FUNCTIONS if hasattr(clip_grad, name)}
    for module in _importing(list(sys.modules.values())):
        for name, value in list(vars(module).items()):
            if id(value) in functions:
                yield module, name


def _importing(modules: Iterable[Any]) -> Iterator[ModuleType]:
    """Yield the modules that may have imported them; torch's own use the names in two of its modules."""
    for module in modules:
        if isinstance(module, ModuleType):
            name = module.__name__
            if not name.startswith("torch.") or name in (clip_grad.__name__, torch.nn.utils.__name__):
                yield module


def _unclipped(clip: Callable[..., Any], parameters: list[Any], args: Any, kwargs: Any) -> Any:
    kept = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    for parameter, gradient in kept:
        parameter.grad = gradient.clone()
    try:
        return clip(parameters, *args, **kwargs)
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient
