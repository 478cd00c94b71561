"""Backward and what surrounds it: the loss before it, the gradients after it, and clearing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Backward, Gradients, Loss, ZeroGrad
from faultlab.core.patching import Patches
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Loss)
def loss(point: Loss, patches: Patches, armed: Armed, site: Site) -> None:
    patches.wrap(torch.Tensor, "backward", in_argument(armed, 0))


def in_argument(armed: Armed, position: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a wrapper for a method whose argument at this position is the loss."""

    def make(backward: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(*args: Any, **kwargs: Any) -> Any:
            if len(args) > position and isinstance(args[position], torch.Tensor) and armed.due("train"):
                args = (*args[:position], armed.map(args[position]), *args[position + 1 :])
            return backward(*args, **kwargs)

        return mapped

    return make


@hooks(Backward)
def around_backward(point: Backward, patches: Patches, armed: Armed, site: Site) -> None:
    patches.wrap(_called(armed, site), "backward", armed.surrounding("train"))


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
            parameters = [p for p in module.parameters() if p.grad is not None]
            if parameters:
                armed.in_place(parameters, _gradients)
            for parameter, gradient in earlier:
                parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
            return result

        return then_inject

    patches.wrap(_called(armed, site), "backward", make)


@hooks(ZeroGrad)
def zero_grad(point: ZeroGrad, patches: Patches, armed: Armed, site: Site) -> None:
    patches.wrap(torch.optim.Optimizer, "zero_grad", armed.surrounding("train"))
    # A module has one, too, which some loops call in its place.
    if "Module.zero_grad" in armed.profile.hooks:
        patches.wrap(torch.nn.Module, "zero_grad", armed.surrounding("train"))


def _called(armed: Armed, site: Site) -> Any:
    """Return the owner of the ``backward`` that a training step calls: the module, or the loss tensor."""
    return site.owner("backward") if "backward" in armed.profile.hooks else torch.Tensor


def _gradients(parameters: list[torch.nn.Parameter]) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.detach().clone() for p in parameters]
