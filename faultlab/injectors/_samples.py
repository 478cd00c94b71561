"""The samples of a batch of any structure: their number, and a batch of a selection of them."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.injection import joined, samples
from faultlab.injection.armed_fault import Context


def size(batch: Any, ctx: Context) -> int:
    """Return the number of samples in the batch."""
    if ctx.profile.joins:
        return joined.number(batch, ctx.profile.joins) or 0
    return samples.count(batch, ctx.profile.sample_axes)


def rows(batch: Any, index: torch.Tensor, ctx: Context) -> Any:
    """Return a batch that consists of the samples at the given indices."""
    return samples.take(batch, index, ctx.profile.sample_axes)
