"""Observation of the calls that clip gradients, while anyone observes.

`clip_grad_norm_` may have been imported by name, so that the function that it calls with the norm is replaced, and not
itself. `clip_grad_value_` is replaced where it is looked up, in `torch.nn.utils`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad

from faultlab.guards.support.observed_calls import ObservedCalls
from faultlab.guards.support.parameter_samples import local, plain

Observer = Callable[[list[Any], float, bool], None]
"""Is called after the gradients of parameters were clipped, with the limit, and whether it is one of their norm."""


def size(parameters: Iterable[Any], by_norm: bool) -> float:
    """Return the norm of all gradients together, or the size of their largest value.

    Of gradients that ranks share it is that of this rank's part, which is at most that of the whole.
    """
    # A partial sum can be larger than the whole.
    summed = [p.grad for p in parameters if not any(one.is_partial() for one in getattr(p.grad, "placements", ()))]
    gradients = [part.detach() for gradient in summed if plain(part := local(gradient))]
    if not gradients:
        return 0.0
    if by_norm:
        return math.sqrt(sum(float(norm) ** 2 for norm in torch._foreach_norm(gradients)))
    return max(float(gradient.abs().max()) for gradient in gradients)


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
        for observer in CALLS.listening:
            observer(parameters, float(limit), by_norm)


def _functions() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    if "_clip_grads_with_norm_" in vars(clip_grad):
        yield clip_grad, "_clip_grads_with_norm_", _by_norm
    yield torch.nn.utils, "clip_grad_value_", _by_value


CALLS: ObservedCalls[Observer] = ObservedCalls(_functions)
