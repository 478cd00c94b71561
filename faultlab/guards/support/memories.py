"""Buffers where a module keeps what it has seen, such as the queue of embeddings of a contrastive loss.

Such a loss changes its scale while it trains: against the random vectors that the queue starts with it is far smaller
than against the embeddings of real samples. Its first values therefore are not comparable with later ones.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy

Kept = dict[str, tuple[int, int]]
"""The address of each such buffer and torch's count of writes to it, by name."""


def kept(module: Any) -> Kept:
    """Return the buffers that may be a memory of samples: tables of real numbers.

    Vectors are statistics. A table with the shape of a parameter is its average or mask.
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
