"""Keys of the samples of a batch by their contents, the same on every rank, and sketches of many of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support import batch_view
from faultlab.guards.support.fingerprints import bits_of

COLUMNS = 64
"""How many numbers of a sample are read, evenly spread."""
FEWEST = 4
"""Samples of fewer numbers are taken for counters, which may be the same on all ranks."""
KEPT = 1024
"""How many keys a sketch has at most."""

_LARGEST = (1 << 63) - 1
_ODD = (0x9E3779B97F4A7C15 - (1 << 64), 0xBF58476D1CE4E5B9 - (1 << 64))


def of_batch(batch: Any) -> Tensor | None:
    """Return the key of each sample, ``int64[samples]`` and not negative; None if samples can't be distinguished."""
    look = batch_view.look(batch)
    size = look.samples
    parts = [part for part in look.usual.values() if size and part.ndim and len(part) == size and part.numel()]
    if not size or sum(part[0].numel() for part in parts) < FEWEST:
        return None
    keys = torch.zeros(size, dtype=torch.int64, device=parts[0].device)
    for part in parts:
        bits = bits_of(part.reshape(size, -1))
        if bits is None:
            continue
        width = bits.shape[1]
        columns = bits[:, :: -(-width // COLUMNS)].to(torch.int64)
        weights = torch.arange(1, 2 * columns.shape[1], 2, device=columns.device) * _ODD[0]
        keys = _mixed(keys + (_mixed(columns * weights)).sum(dim=1).to(keys.device))
    return keys & _LARGEST


def in_order(keys: Iterable[Tensor]) -> int:
    """Return a number that stands for some keys in their order."""
    joined = torch.cat(list(keys))
    places = torch.arange(1, 2 * len(joined), 2, device=joined.device)
    return int(_mixed(joined * places).sum() & _LARGEST)


def sketch(keys: Sequence[Tensor]) -> tuple[Tensor, int, int]:
    """Return the lowest different keys, at most `KEPT`, and how many keys and different keys there are."""
    joined = torch.cat(list(keys))
    different = torch.unique(joined)
    return different[:KEPT], len(joined), len(different)


def shared(sketches: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return how many keys are in several of the sketches, and how many there are, as far as all sketches reach."""
    limit = min((max(one) for one in sketches if len(one) == KEPT), default=_LARGEST)
    sets = [{key for key in one if key <= limit} for one in sketches]
    together = set().union(*sets)
    return sum(sum(key in one for one in sets) > 1 for key in together), len(together)


def _mixed(numbers: Tensor) -> Tensor:
    numbers = (numbers ^ (numbers >> 31)) * _ODD[1]
    return numbers ^ (numbers >> 29)
