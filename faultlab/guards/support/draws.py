"""Random numbers: how a guard draws without anybody detecting, and how it detects that somebody has drawn."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy
import torch


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Random numbers that are drawn inside were not drawn, as far as anybody outside can tell."""
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
    """Seeds torch's generators; within `undrawn`."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    # To work a state out takes as long as a small network's forward pass.
    elif seed in _seeded:
        torch.set_rng_state(_seeded[seed])
    else:
        torch.manual_seed(seed)
        _seeded[seed] = torch.get_rng_state()


def drawn(seed: int) -> bool:
    """Whether random numbers of torch's may have been drawn since `reseed` with the same seed."""
    return seed not in _seeded or not torch.equal(_seeded[seed], torch.get_rng_state())


Mark = list[torch.Tensor]
"""Where torch's generators stand."""


def mark() -> Mark:
    """Where they stand now, to be compared with later."""
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return [torch.get_rng_state(), *on_gpu]


def since(before: Mark) -> bool:
    """Whether random numbers of torch's may have been drawn since a mark."""
    now = mark()
    return len(now) != len(before) or not all(map(torch.equal, now, before))
