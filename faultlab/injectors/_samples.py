"""The samples of a batch, whatever it is made of: how many there are, and a batch of some of them."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.injection import joined, samples
from faultlab.injection.armed_fault import Context


def size(batch: Any, ctx: Context) -> int:
    """The number of samples in the batch."""
    if ctx.profile.joins:
        return joined.number(batch, ctx.profile.joins) or 0
    return samples.count(batch, ctx.profile.sample_axes)


def rows(batch: Any, index: torch.Tensor, ctx: Context) -> Any:
    """The batch made of these of its samples."""
    return samples.take(batch, index, ctx.profile.sample_axes)
