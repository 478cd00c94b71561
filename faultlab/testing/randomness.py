"""The state of the process's random numbers, saved and restored around each test."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import random
import sys
from typing import Any


def snapshot() -> tuple[Any, ...]:
    """The states of Python's, numpy's and torch's generators, of those that are imported."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (
        random.getstate(),
        numpy.random.get_state() if numpy is not None else None,
        torch.get_rng_state() if torch is not None else None,
    )


def seeded() -> tuple[Any, ...]:
    """The states that generators have once they are seeded with 0: the same in every process."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (
        random.Random(0).getstate(),
        numpy.random.RandomState(0).get_state() if numpy is not None else None,
        torch.Generator().manual_seed(0).get_state() if torch is not None else None,
    )


def restore(state: tuple[Any, ...]) -> None:
    """Goes back to a snapshot."""
    own, numpys, torchs = state
    random.setstate(own)
    if numpys is not None:
        sys.modules["numpy"].random.set_state(numpys)
    if torchs is not None:
        sys.modules["torch"].set_rng_state(torchs)
