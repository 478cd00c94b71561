"""Random number generators: drawing without leaving a trace, and detecting draws."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy
import torch


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Restore the states of all random number generators at the end of the context."""
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        numpy.random.set_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state_all(on_gpu)


_seeded: dict[int, torch.Tensor] = {}


def reseed(seed: int) -> None:
    """Seed torch's generators, within `undrawn`."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    # Computing a state takes as long as a small network's forward pass.
    elif seed in _seeded:
        torch.set_rng_state(_seeded[seed])
    else:
        torch.manual_seed(seed)
        _seeded[seed] = torch.get_rng_state()


def drawn(seed: int) -> bool:
    """Return whether torch's random numbers may have been drawn since `reseed` with the same seed."""
    return seed not in _seeded or not torch.equal(_seeded[seed], torch.get_rng_state())


Mark = list[torch.Tensor]
"""The states of torch's generators."""


def mark() -> Mark:
    """Return the current states, for `since`."""
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return [torch.get_rng_state(), *on_gpu]


def since(before: Mark) -> bool:
    """Return whether torch's random numbers may have been drawn since a mark."""
    now = mark()
    return len(now) != len(before) or not all(map(torch.equal, now, before))
