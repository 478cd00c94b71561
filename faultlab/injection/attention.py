"""Masks of attention: whether one hides later positions from earlier ones, and the same mask without that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

# The names of the arguments in the order of the signature, as far as they matter.
FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "scaled_dot_product_attention": ("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
    "multi_head_attention_forward": ("query", "key", "value"),
}
"""The functions of `torch.nn.functional` that compute an attention, with the names of their positional arguments."""

_HIDING = ("multi_head_attention_forward",)
"""The functions in whose Boolean masks True hides a position; in those of the others, it shows one."""

_HIDES = -9e3
"""Where models write a finite number for minus infinity, it is at most -10000, which bfloat16 rounds to -9984."""


@dataclass(frozen=True)
class Attending:
    """The positions that one attention may look at.

    Attributes:
        mask: A Boolean mask, in which True shows a position, or numbers that are added to the scores; None without one.
        causal: A flag hides later positions, too.
        positions: The number of positions that attend.
    """

    mask: torch.Tensor | None
    causal: bool
    positions: int

    @property
    def hides_later(self) -> bool:
        """True if no position attends to later ones, and some attend to earlier ones."""
        if self.causal:
            return self.positions > 1
        hidden = self._hidden
        if hidden is None:
            return False
        earlier = torch.ones(hidden.shape[-2:], dtype=torch.bool, device=hidden.device).tril(-1)
        return is_true(hidden[..., earlier.mT].all() & ~hidden[..., earlier].all())

    def without_order(self) -> Attending:
        """Return the same, except that two positions see each other if the later one sees the earlier one."""
        if not self.hides_later:
            return self
        mask = self.mask
        if mask is not None and self._hidden is not None:
            mask = mask | mask.mT if mask.dtype == torch.bool else torch.maximum(mask, mask.mT)
        return replace(self, mask=mask, causal=False)

    @property
    def _hidden(self) -> torch.Tensor | None:
        """The positions that a square mask hides; None without such a mask."""
        mask = self.mask
        if mask is None or mask.ndim < 2 or mask.shape[-1] != mask.shape[-2] or mask.shape[-1] < 2:
            return None
        return ~mask if mask.dtype == torch.bool else mask <= _HIDES


def is_true(value: torch.Tensor) -> bool:
    """Return whether a single value is true; False if it can't be read, such as a fake one, or under vmap."""
    try:
        return bool(value)
    except (RuntimeError, AssertionError):
        return False


def named(function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of one of the functions by name, as far as their names are known."""
    return {**dict(zip(FUNCTIONS[function], args)), **kwargs}


def attending(function: str, given: Mapping[str, Any]) -> Attending:
    """Return what a call of one of the functions with these named arguments may look at."""
    mask = given.get("attn_mask")
    if mask is not None and mask.dtype == torch.bool and function in _HIDING:
        mask = ~mask
    # The first function has positions before features, the second one before samples.
    return Attending(mask, bool(given.get("is_causal")), given["query"].shape[0 if function in _HIDING else -2])


def arguments(function: str, given: Mapping[str, Any], found: Attending) -> dict[str, Any]:
    """Return the named arguments with what the call may look at replaced."""
    mask = found.mask
    if mask is not None and mask.dtype == torch.bool and function in _HIDING:
        mask = ~mask
    return {**given, "attn_mask": mask, "is_causal": found.causal}
