"""A module of any kind in the form of one with a ``training_step``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Stepping(nn.Module):
    """Holds a model and a function that computes its loss.

    Args:
        model: The model, as the part ``model``.
        loss: A function of the model and a batch that returns the loss.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        # A new module is in training mode, which this one must not be where the model is not.
        self.training = model.training

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss of a batch."""
        return self.loss(self.model, batch)
