"""The exchange between a guard and its counterparts on the other ranks of a training, by one small collective.

A rank that does not enter a collective that the others have entered lets them wait. So a guard enters its own wherever
every rank does, even if it failed before. The others learn of that, and all stop together.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist

from faultlab.guards.support.training_view import TrainingView

_exchanging = False


def exchanging() -> bool:
    """Return whether a guard's own collective is running, so that faults and records of collectives ignore it."""
    return _exchanging


@contextlib.contextmanager
def collective() -> Iterator[None]:
    """Mark the collectives inside the context as those of guards."""
    global _exchanging
    before, _exchanging = _exchanging, True
    try:
        yield
    finally:
        _exchanging = before


def ranks_met() -> int:
    """Return how many processes are in the default process group now, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def meets(trainer: TrainingView) -> bool:
    """Return whether other processes train together with this one, and can be reached from this hook."""
    return trainer.world_size > 1 and trainer.is_meeting and dist.is_available() and dist.is_initialized()


def device_of(module: Any) -> torch.device:
    """Return the device whose collectives the ranks of a module use."""
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


class UnreachableError(RuntimeError):
    """Another rank is gone, or late: what the next collective of the training would raise."""


class Exchange:
    """The exchange of one guard with its counterparts on the other ranks.

    ``failed`` shows them at the next exchange that this guard failed; it has ``ended`` when all know of a failure.
    """

    def __init__(self) -> None:
        self.failed = self.ended = False

    def begin(self) -> None:
        """Begin again, for another training."""
        self.failed = self.ended = False

    def gather(self, guard: Any, module: Any, own: Callable[[], Sequence[int]], size: int) -> list[list[int]] | None:
        """Return the numbers of every rank, in rank order; None if the guard failed on one of them.

        Every rank has to call it at the same place of the training, and not during a backward pass.

        Args:
            guard: The guard.
            module: The module that is trained.
            own: Returns the numbers of this rank, which fit into 64 bits. If it raises, so does this method, after the
                exchange.
            size: How many numbers.

        Raises:
            UnreachableError: Another rank is gone.
        """
        if self.ended:
            return None
        error: Exception | None = None
        numbers: Sequence[int] = [0] * size
        if not self.failed:
            try:
                numbers = own()
            except Exception as raised:
                error, self.failed = raised, True
        told = torch.tensor([int(self.failed), *numbers], dtype=torch.int64, device=device_of(module))
        gathered = [torch.empty_like(told) for _ in range(dist.get_world_size())]
        try:
            with collective():
                dist.all_gather(gathered, told)
        except Exception as lost:
            self.ended = True
            guard.skip("another rank can't be reached")
            if not guard.together:
                return None  # the next collective of the training shows it
            raise UnreachableError(f"another rank can't be reached: {lost}") from lost
        rows: list[list[int]] = torch.stack(gathered).tolist()
        if failed := [rank for rank, row in enumerate(rows) if row[0]]:
            self.ended = True
            guard.skip(f"it failed on {ranks_named(failed)}")
            if error is not None:
                raise error
            return None
        return [row[1:] for row in rows]


def gather_objects(own: Any) -> list[Any]:
    """Return an object of every rank, in rank order. It is slow: only for what ends a training."""
    found: list[Any] = [None] * dist.get_world_size()
    with collective():
        dist.all_gather_object(found, own)
    return found


def bits_of(value: float) -> int:
    """Return a number as the integer of its bits, for an exchange."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def from_bits(bits: int) -> float:
    """Return the number of these bits."""
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def ranks_named(ranks: Sequence[int]) -> str:
    """Return ranks as text."""
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"the ranks {', '.join(map(str, ranks))}"
