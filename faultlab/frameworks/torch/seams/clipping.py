"""Gradient clipping by torch's functions, if the module calls those itself."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import clip_grad

from faultlab.catalogue.injection_points import Clipping
from faultlab.core.patching import Make, Patches
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

BY_HAND = "clip_grad"
_FUNCTIONS = ("clip_grad_norm_", "clip_grad_value_")
_BY_KNOWN_NORM = "clip_grads_with_norm_"


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


def wrap_functions(patches: Patches, make: Make) -> None:
    """Replace torch's functions that clip gradients, under every name that a module imported them by."""
    # A guard that observes clipping has replaced one of them in only one of these modules.
    functions = {getattr(owner, name) for owner in (clip_grad, torch.nn.utils) for name in _FUNCTIONS}
    patches.wrap_imported(functions, make, _looks_at)
    if hasattr(torch.nn.utils, _BY_KNOWN_NORM):
        # Not where `clip_grad_norm_` calls it, which would be clipping twice.
        patches.wrap_imported([getattr(torch.nn.utils, _BY_KNOWN_NORM)], make, _imports)


def _looks_at(module: ModuleType) -> bool:
    """Return whether a module may have imported them, or defines them."""
    return module is clip_grad or _imports(module)


def _imports(module: ModuleType) -> bool:
    """Return whether a module may have imported them; of torch's own, only the one that offers them."""
    return module is torch.nn.utils or not module.__name__.startswith("torch.")


def _unclipped(clip: Callable[..., Any], parameters: list[Any], args: Any, kwargs: Any) -> Any:
    kept = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    for parameter, gradient in kept:
        parameter.grad = gradient.clone()
    try:
        return clip(parameters, *args, **kwargs)
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient
