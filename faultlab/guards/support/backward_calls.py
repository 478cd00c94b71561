"""Observation of every backward pass and gradient scaler of the process, while anyone observes.

`torch.autograd.backward` is what `Tensor.backward` calls, so it is the only place to observe.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from faultlab.guards.support.observed_calls import ObservedCalls


class Observer(Protocol):
    """Is called at each backward pass, and by each gradient scaler."""

    def before_backward(self, loss: Tensor) -> None:
        """Called with the scalar that is about to be differentiated."""

    def after_backward(self, done: bool) -> None:
        """Called after a backward pass, which is done unless it raised an exception."""

    def scaled(self, loss: Any, result: Any) -> None:
        """Called after a gradient scaler has scaled a loss."""

    def before_scaled_step(self, optimizer: Any) -> None:
        """Called before a gradient scaler steps an optimizer, which it skips if gradients are infinite."""

    def after_scaled_step(self, optimizer: Any) -> None:
        """Called after a gradient scaler has stepped an optimizer, or skipped the step."""


def _backward(original: Any) -> Any:
    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
        # One that a compiler traces has no values.
        observers = () if torch.compiler.is_compiling() else CALLS.listening
        if observers:
            is_loss = type(tensors) is Tensor and tensors.numel() == 1
            loss = tensors if is_loss else _scalar(tensors, grad_tensors)
            for observer in observers:
                observer.before_backward(loss)
            del loss
        done = False
        try:
            original(tensors, grad_tensors, *args, **kwargs)
            done = True
        finally:
            for observer in observers:
                observer.after_backward(done)

    return backward


def _scalar(tensors: Any, gradients: Any) -> Tensor:
    """Return the scalar whose gradients a backward pass computes."""
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if len(roots) == 1 and roots[0].numel() == 1:
        only: Tensor = roots[0]
        return only
    given = [gradients] if isinstance(gradients, Tensor) or gradients is None else list(gradients)
    given += [None] * (len(roots) - len(given))
    with torch.enable_grad():
        parts = [(root if gradient is None else root * gradient).sum() for root, gradient in zip(roots, given)]
        total: Tensor = torch.stack([part.to(parts[0].device) for part in parts]).sum()
    return total


def _scale(original: Any) -> Any:
    def scale(self: Any, outputs: Any) -> Any:
        result = original(self, outputs)
        if self.is_enabled():
            for observer in CALLS.listening:
                observer.scaled(outputs, result)
        return result

    return scale


def _step(original: Any) -> Any:
    def step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        observers = CALLS.listening if self.is_enabled() else ()
        for observer in observers:
            observer.before_scaled_step(optimizer)
        result = original(self, optimizer, *args, **kwargs)
        for observer in observers:
            observer.after_scaled_step(optimizer)
        return result

    return step


CALLS: ObservedCalls[Observer] = ObservedCalls(
    lambda: [(torch.autograd, "backward", _backward), (GradScaler, "scale", _scale), (GradScaler, "step", _step)]
)
