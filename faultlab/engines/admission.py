"""Admission of victims by the machine's free memory."""

from __future__ import annotations

from faultlab.engines import processes

# The share of the machine's memory that other programs need.
_SPARE = 0.05


class Admission:
    """Delays victims that would not fit beside the running ones; one is always admitted.

    A victim shares the memory of the process that it was forked from. It counts by what it writes to: the largest
    private memory of the clean runs.
    """

    def __init__(self) -> None:
        self._private = 0

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
