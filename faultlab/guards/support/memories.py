"""Buffers in which a module keeps what it has seen, as a contrastive loss keeps a queue of embeddings.

What such a loss measures against changes while it trains: with the random vectors that a queue begins with it is far
smaller than with the embeddings of real samples, so that its beginning is no measure of what it is later.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy

Kept = dict[str, tuple[int, int]]
"""Where each such buffer lies in memory, and torch's count of how often it was written to, by name."""


def kept(module: Any) -> Kept:
    """Return the buffers that may be a memory of samples: tables of real numbers.

    Statistics are vectors; a table of a parameter's shape is an average of that parameter, or its mask.
    """
    shapes = {parameter.shape for parameter in module.parameters() if not is_lazy(parameter)}
    return {
        name: (buffer.data_ptr(), buffer._version)
        for name, buffer in module.named_buffers()
        if _is_table(buffer) and buffer.shape not in shapes
    }


def _is_table(buffer: Tensor) -> bool:
    is_plain = not is_lazy(buffer) and buffer.is_floating_point() and not buffer.is_sparse and not buffer.is_meta
    return is_plain and sum(length > 1 for length in buffer.shape) >= 2
