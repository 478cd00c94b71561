"""Random choices that several families share: a derangement, and the replacement of one value."""

from __future__ import annotations

import torch

from faultlab.injection.armed_fault import Context


def derangement(count: int, ctx: Context) -> torch.Tensor:
    """Return a random permutation of ``count`` indices that leaves none in its place."""
    order = torch.randperm(count, generator=ctx.generator)
    return order.roll(1)[order.argsort()]


def replace_one(tensor: torch.Tensor, value: float, ctx: Context) -> torch.Tensor:
    """Return the tensor with one randomly chosen value replaced."""
    if not tensor.numel():
        return tensor
    chosen = torch.zeros(tensor.numel(), dtype=torch.bool)
    chosen[torch.randint(tensor.numel(), (1,), generator=ctx.generator)] = True
    return tensor.masked_fill(chosen.view(tensor.shape).to(tensor.device), value)
