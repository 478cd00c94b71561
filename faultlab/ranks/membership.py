"""The rank of this process among those that train together. It imports no torch: every victim may ask."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass(frozen=True)
class Membership:
    """This process's ``rank``, from 0, and the ``size`` of its group."""

    rank: int
    size: int

    @property
    def environment(self) -> dict[str, str]:
        """The variables that launchers set for a rank; the port is never used, since the ranks meet at a file."""
        return {
            "LOCAL_RANK": str(self.rank),
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_WORLD_SIZE": str(self.size),
            "NODE_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29500",
            # Else gloo looks up the host's name, which is slow or fails where there is no network.
            "GLOO_SOCKET_IFNAME": _LOOPBACK,
        }


_present: Membership | None = None


def present() -> Membership | None:
    """Return this process's membership; None if it trains alone."""
    return _present


def rank() -> int:
    """Return the rank of this process; 0 if it trains alone."""
    return _present.rank if _present is not None else 0


def enter(rank: int, size: int) -> Membership:
    """Make this process a rank, for whatever reads the variables of launchers too."""
    global _present
    _present = Membership(rank, size)
    os.environ.update(_present.environment)
    return _present


def end() -> None:
    """Make this process train alone from now on."""
    global _present
    if _present is not None:
        for name in _present.environment:
            os.environ.pop(name, None)
    _present = None
