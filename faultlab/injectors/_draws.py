"""What several families draw at random: an order of things, and a value to be replaced."""

from __future__ import annotations

import torch

from faultlab.injection.armed_fault import Context


def derangement(count: int, ctx: Context) -> torch.Tensor:
    """A random order of ``count`` things in which none keeps its place."""
    order = torch.randperm(count, generator=ctx.generator)
    return order.roll(1)[order.argsort()]


def replace_one(tensor: torch.Tensor, value: float, ctx: Context) -> torch.Tensor:
    """The tensor with one of its values, drawn at random, replaced."""
    if not tensor.numel():
        return tensor
    chosen = torch.zeros(tensor.numel(), dtype=torch.bool)
    chosen[torch.randint(tensor.numel(), (1,), generator=ctx.generator)] = True
    return tensor.masked_fill(chosen.view(tensor.shape).to(tensor.device), value)
