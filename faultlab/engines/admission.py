"""Admission of victims by the slots of the user's jobs, and by the machine's free memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from faultlab.core.orders import Order
from faultlab.engines import processes

# The share of the machine's memory that other programs need.
_SPARE = 0.05

_FURTHER = 1
"""How many runs of several ranks are given beyond the jobs. Their ranks wait for each other half of the time."""
_ON_THE_WAY = 2
"""How many times as many runs that will wait until a deadline: they compute until their fault acts."""
_ASLEEP = 4
"""How many times as many together with those that wait already, which take time and memory, but no core."""


def slots(jobs: int, ranks: int, running: Sequence[Order], sleep: bool, asleep: Collection[str] = ()) -> int:
    """Return how many more runs may start beside these; one always may.

    Args:
        jobs: The number of processes that may compute at a time.
        ranks: The number of processes of a run.
        running: The orders that are given, all of those that sleep or all of the others.
        sleep: Whether they sleep.
        asleep: The ids of those whose fault has acted.
    """
    room = jobs - sum(order.ranks for order in running if order.id not in asleep)
    if sleep:
        room = min(room + jobs * (_ON_THE_WAY - 1), jobs * _ASLEEP - sum(order.ranks for order in running))
    elif ranks > 1:
        room += ranks * _FURTHER
    return max(room // ranks, 0 if running else 1)


class Admission:
    """Delays victims that would not fit beside the running ones; one is always admitted.

    A victim shares the memory of the process that it was forked from. It counts by what it writes to: the largest
    private memory of the clean runs.

    Attributes:
        asleep: The ids of the runs that wait until their deadline.
    """

    def __init__(self) -> None:
        self._private = 0
        self.asleep: set[str] = set()

    def free(self, jobs: int, ranks: int, given: Sequence[Order]) -> dict[bool, int]:
        """Return how many more runs of ``ranks`` may start beside those given: that compute, and that will sleep."""
        self.asleep &= {order.id for order in given}
        fitting = max(self.room(sum(order.ranks for order in given)) // ranks, 0 if given else 1)
        kinds = {sleep: [order for order in given if order.sleeps == sleep] for sleep in (False, True)}
        return {sleep: min(fitting, slots(jobs, ranks, kinds[sleep], sleep, self.asleep)) for sleep in kinds}

    def learn(self, private: int) -> None:
        """Record the private memory of a run, in KiB."""
        self._private = max(self._private, private)

    def room(self, running: int) -> int:
        """Return how many more victims may start beside the running ones; unbounded if nothing is known yet."""
        known = processes.memory() if self._private else {}
        if not known:
            return 1 << 30
        fitting = int(known["MemAvailable"] - _SPARE * known["MemTotal"]) // self._private
        return max(fitting, 0 if running else 1)
