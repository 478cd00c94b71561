"""Backward and what surrounds it: the loss before it, the gradients after it, and clearing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Backward, Gradients, Loss, ZeroGrad
from faultlab.core.patching import Patches
from faultlab.injection.hooks import Site, hooks
from faultlab.ranks import shards

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

DIRECT = "autograd.backward"
"""Among the hooks of a target profile, if the training calls `torch.autograd.backward` itself."""


@hooks(Loss)
def loss(point: Loss, patches: Patches, armed: Armed, site: Site) -> None:
    _wrap(torch.Tensor, "backward", in_argument(armed, 0), patches, armed)


def in_argument(armed: Armed, position: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a wrapper for a method whose argument at this position is the loss."""

    def make(backward: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(*args: Any, **kwargs: Any) -> Any:
            if len(args) > position and armed.due("train"):
                args = (*args[:position], _mapped(args[position], armed), *args[position + 1 :])
            return backward(*args, **kwargs)

        return mapped

    return make


def _mapped(loss: Any, armed: Armed) -> Any:
    if isinstance(loss, (list, tuple)):
        return [_mapped(one, armed) for one in loss]
    return armed.map(loss) if isinstance(loss, torch.Tensor) else loss


@hooks(Backward)
def around_backward(point: Backward, patches: Patches, armed: Armed, site: Site) -> None:
    _wrap(_called(armed, site), "backward", armed.surrounding("train"), patches, armed)


@hooks(Gradients)
def gradients(point: Gradients, patches: Patches, armed: Armed, site: Site) -> None:
    def make(backward: Callable[..., Any]) -> Callable[..., Any]:
        def then_inject(*args: Any, **kwargs: Any) -> Any:
            if not armed.due("train"):
                return backward(*args, **kwargs)
            module = site.present(armed.clock)
            if module is None:
                return backward(*args, **kwargs)
            earlier = [(p, p.grad) for p in module.parameters() if p.grad is not None]
            for parameter, _ in earlier:
                parameter.grad = None
            result = backward(*args, **kwargs)
            with shards.at_hand(module):
                parameters = [p for p in module.parameters() if p.grad is not None]
                if parameters:
                    armed.in_place(parameters, _gradients)
            for parameter, gradient in earlier:
                parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
            return result

        return then_inject

    _wrap(_called(armed, site), "backward", make, patches, armed)


@hooks(ZeroGrad)
def zero_grad(point: ZeroGrad, patches: Patches, armed: Armed, site: Site) -> None:
    patches.wrap(torch.optim.Optimizer, "zero_grad", armed.surrounding("train"))
    # A module has one, too, which some loops call in its place.
    if "Module.zero_grad" in armed.profile.hooks:
        patches.wrap(torch.nn.Module, "zero_grad", armed.surrounding("train"))


def _called(armed: Armed, site: Site) -> Any:
    """Return the owner of the ``backward`` that a training step calls: the module, or the loss tensor."""
    return site.owner("backward") if "backward" in armed.profile.hooks else torch.Tensor


def _wrap(
    owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]], patches: Patches, armed: Armed
) -> None:
    """Replace a method of a backward, or torch's function in place of the tensor's method if that is called itself."""
    if owner is torch.Tensor and DIRECT in armed.profile.hooks:
        patches.wrap(torch.autograd, name, lambda genuine: _outermost(genuine, make(genuine)))
    else:
        patches.wrap(owner, name, make)


def _outermost(genuine: Callable[..., Any], changed: Callable[..., Any]) -> Callable[..., Any]:
    """Return the changed function, but the genuine one within a call: checkpointed layers call backward again."""
    inside = False

    def backward(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        if inside:
            return genuine(*args, **kwargs)
        inside = True
        try:
            return changed(*args, **kwargs)
        finally:
            inside = False

    return backward


def _gradients(parameters: list[torch.nn.Parameter]) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.detach().clone() for p in parameters]
