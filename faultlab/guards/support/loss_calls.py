"""Observation of the calls of torch's loss functions, while anyone observes.

They are replaced where they are looked up, in `torch.nn.functional`, which the modules of `torch.nn` do, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from faultlab.guards.support.observed_calls import ObservedCalls

_NAMES = (
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "hinge_embedding_loss",
    "kl_div",
    "margin_ranking_loss",
    "nll_loss",
    "poisson_nll_loss",
    "soft_margin_loss",
)


class LossCall(NamedTuple):
    """A call of a loss function: its name, the original function, and its arguments by name, with the defaults."""

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]

    @property
    def input(self) -> Any:
        """The argument that the loss is a function of: the first one."""
        return next(iter(self.arguments.values()), None)

    @property
    def is_trained_on(self) -> bool:
        """True if gradients can flow through the input, as they do not in an evaluation."""
        return isinstance(self.input, Tensor) and self.input.requires_grad

    @property
    def is_reduced(self) -> bool:
        """True if the function itself reduces the losses to one number, so that none of them is masked afterwards."""
        return self.arguments.get("reduction") != "none" and self.arguments.get("reduce") is not False


Observer = Callable[[LossCall], None]
"""Is called after a loss was computed."""


def _observed(original: Any) -> Any:
    signature = inspect.signature(original)

    def loss(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        observers = () if torch.compiler.is_compiling() else CALLS.listening
        if observers:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            call = LossCall(original.__name__, original, bound.arguments)
            for observer in observers:
                observer(call)
        return result

    return loss


def _functions() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    for name in _NAMES:
        if inspect.isfunction(vars(functional).get(name)):
            yield functional, name, _observed


CALLS: ObservedCalls[Observer] = ObservedCalls(_functions)
