"""How many more victims the machine's memory has room for."""

from __future__ import annotations

from faultlab.engines import processes

# As a part of the machine's memory: what else runs there needs some too.
_SPARE = 0.05


class Admission:
    """Holds victims back that would not fit beside those that run; one always may.

    A victim shares the memory of the process that it is a copy of. What counts is what it writes to: its private
    memory, as clean runs had it at most.
    """

    def __init__(self) -> None:
        self._private = 0

    def learn(self, private: int) -> None:
        """Take note of the private memory of a run, in KiB."""
        self._private = max(self._private, private)

    def room(self, running: int) -> int:
        """Return how many more victims may start beside those that run; without a bound where nothing is known."""
        known = processes.memory() if self._private else {}
        if not known:
            return 1 << 30
        fitting = int(known["MemAvailable"] - _SPARE * known["MemTotal"]) // self._private
        return max(fitting, 0 if running else 1)
