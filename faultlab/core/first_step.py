"""Facts about the first training step of a clean run that few failure modes need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FirstStep:
    """What the first training step computes with, and how.

    Attributes:
        loss_terms: The number of summands with a gradient in its loss; 0 if the loss is no sum.
        stops: The lines, as ``file:line``, that detach a tensor from its graph and whose results reach the loss.
        causal: An attention hides later positions.
        class_weights: A loss function of torch's has unequal weights of classes.
        tied_tensors: The number of trainable parameters that two or more layers share.
        resting_parts: The number of frozen parts that are in eval mode.
        adapters: The number of low-rank adapters with a bias.
    """

    loss_terms: int = 0
    stops: tuple[str, ...] = ()
    causal: bool = False
    class_weights: bool = False
    tied_tensors: int = 0
    resting_parts: int = 0
    adapters: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FirstStep:
        """Return the facts of a profile's data."""
        return cls(**{**data, "stops": tuple(data.get("stops", ()))})
