"""The state of the process's random numbers, saved and restored around each test."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import random
import sys
from typing import Any


def snapshot() -> tuple[Any, ...]:
    """Return the states of the generators of Python, numpy and torch; None for a package that is not imported."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (
        random.getstate(),
        numpy.random.get_state() if numpy is not None else None,
        torch.get_rng_state() if torch is not None else None,
    )


def seeded() -> tuple[Any, ...]:
    """Return the states of generators seeded with 0, which are the same in every process."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (
        random.Random(0).getstate(),
        numpy.random.RandomState(0).get_state() if numpy is not None else None,
        torch.Generator().manual_seed(0).get_state() if torch is not None else None,
    )


def restore(state: tuple[Any, ...]) -> None:
    """Restore a snapshot."""
    own, numpys, torchs = state
    random.setstate(own)
    if numpys is not None:
        sys.modules["numpy"].random.set_state(numpys)
    if torchs is not None:
        sys.modules["torch"].set_rng_state(torchs)
