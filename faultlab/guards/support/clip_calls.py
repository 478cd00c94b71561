"""Observation of the calls that clip gradients, while anyone observes.

`clip_grad_norm_` may have been imported by name, so that the function that it calls with the norm is replaced, and not
itself. `clip_grad_value_` is replaced where it is looked up, in `torch.nn.utils`. Both are replaced when the first
observer comes and restored when the last one leaves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad

from faultlab.guards.support.parameter_samples import plain

Observer = Callable[[list[Any], float, bool], None]
"""Is called after the gradients of parameters were clipped, with the limit, and whether it is one of their norm."""

_observers: list[Observer] = []
_replaced: list[tuple[Any, str, Any, Any]] = []


def observe(observer: Observer) -> None:
    """Call the observer at each call that clips gradients, from now on."""
    if not _observers:
        if "_clip_grads_with_norm_" in vars(clip_grad):
            _replace(clip_grad, "_clip_grads_with_norm_", _by_norm)
        _replace(torch.nn.utils, "clip_grad_value_", _by_value)
    _observers.append(observer)


def leave(observer: Observer) -> None:
    """Stop calling the observer."""
    if observer in _observers:
        _observers.remove(observer)
    while not _observers and _replaced:
        owner, name, original, ours = _replaced.pop()
        # Another library may have replaced it since; ours then calls the original and nothing else.
        if vars(owner).get(name) is ours:
            setattr(owner, name, original)


def size(parameters: Iterable[Any], by_norm: bool) -> float:
    """Return the norm of all gradients together, or the size of their largest value."""
    gradients = [parameter.grad.detach() for parameter in parameters if plain(parameter.grad)]
    if not gradients:
        return 0.0
    if by_norm:
        return math.sqrt(sum(float(norm) ** 2 for norm in torch._foreach_norm(gradients)))
    return max(float(gradient.abs().max()) for gradient in gradients)


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = vars(owner)[name]
    ours = functools.wraps(original)(make(original))
    setattr(owner, name, ours)
    _replaced.append((owner, name, original, ours))


def _by_norm(original: Any) -> Any:
    def clip(parameters: Any, max_norm: float, total_norm: Any, *args: Any, **kwargs: Any) -> Any:
        held = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        original(held, max_norm, total_norm, *args, **kwargs)
        _notify(held, max_norm, True)

    return clip


def _by_value(original: Any) -> Any:
    def clip(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> Any:
        held = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        original(held, clip_value, *args, **kwargs)
        _notify(held, clip_value, False)

    return clip


def _notify(parameters: list[Any], limit: Any, by_norm: bool) -> None:
    if not torch.compiler.is_compiling():
        for observer in [*_observers]:
            observer(parameters, float(limit), by_norm)
