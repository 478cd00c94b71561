"""How runs are carried out. An engine takes orders and gives back outcomes; it judges nothing.

It imports nothing of the campaign or of any other layer above it, and Lightning through `faultlab.frameworks` alone.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from faultlab.core import plug_ins
from faultlab.core.orders import Order
from faultlab.core.results import Outcome

ENTRY_POINT_GROUP = "faultlab.engines"
BUILT_IN = {"fork": "faultlab.engines.fork:ForkEngine", "spawn": "faultlab.engines.spawn:SpawnEngine"}
"""What makes an engine for so many jobs. Nothing is imported before it is asked for."""


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do.

    ``snapshots``: runs may begin half-way, as copies of a training that goes on beside them. ``groups``: a run may be
    several processes. ``echo``: what a run prints can be shown as it comes. ``shared_filesystem``: runs find the
    driver's files where it has them.
    """

    snapshots: bool = False
    groups: bool = False
    echo: bool = False
    shared_filesystem: bool = False


class Engine(Protocol):
    """What a campaign needs of an engine. Engines are closed when they are done with, whatever happened."""

    @property
    def capabilities(self) -> Capabilities:
        """What may be asked of it."""

    jobs: int
    alone: bool
    """Whether no scenario is expected after the one that is open, and nothing need be imported ahead."""

    @property
    def root(self) -> str:
        """The folder that runs may write under; it goes with the engine."""

    def keep_warm(self) -> None:
        """Shares a process that has imported what is installed with the commands before and after, if possible."""

    def preload(self, package: str) -> None:
        """Has later scenarios find a package imported already, where that is possible."""

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        """Makes a scenario ready, leaving the one before it. Raises TargetError."""

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        """Carries the orders out, ``jobs`` at a time, and yields each outcome as it comes.

        Raises UsageError where an order asks for what the engine can't do.
        """

    def close(self) -> None:
        """Ends every process that the engine started."""


def refuse_groups(engine: Engine, orders: Sequence[Order]) -> None:
    """Raise UsageError for an order of several ranks, where the engine runs single processes alone."""
    from faultlab.errors import UsageError

    asked = next((order for order in orders if order.ranks > 1), None)
    if asked is not None and not engine.capabilities.groups:
        raise UsageError(
            f"{asked.id} asks for {asked.ranks} ranks, and this engine runs one process a training; ask for one rank"
        )


def added() -> dict[str, EntryPoint]:
    """Return the entry points by which installed packages add engines, by name."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name not in BUILT_IN}


def names() -> list[str]:
    """Return the names of all engines, faultlab's own first."""
    return [*BUILT_IN, *sorted(added())]


def create(name: str, jobs: int) -> Engine:
    """Return a new engine of that name, for so many runs at a time.

    Raises:
        UsageError: There is none, the package that adds it can't be imported, or the system can't fork for ``fork``.
    """
    from faultlab.errors import UsageError

    if name == "fork" and not hasattr(os, "fork"):
        raise UsageError("this system can't fork processes; use --engine spawn")
    if name in BUILT_IN:
        module, _, cls = BUILT_IN[name].partition(":")
        own: Engine = getattr(importlib.import_module(module), cls)(jobs)
        return own
    make: Callable[[int], Engine] = plug_ins.loaded("engine", name, added(), names())
    return make(jobs)


def cores() -> int:
    """The cores that this process may use, fewer than the machine's in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_jobs(asked: int | None) -> int:
    """Return how many runs to carry out at a time: as many as asked for, or one for each core.

    Raises:
        UsageError: if more are asked for than there are cores.
    """
    from faultlab.errors import UsageError

    if asked is not None and asked > cores():
        raise UsageError(
            f"{asked} jobs on {cores()} cores: runs that share a core take as long, more memory, and reach their "
            f"deadlines sooner; ask for {cores()} at most"
        )
    return asked or cores()


def default() -> str:
    return "fork" if hasattr(os, "fork") else "spawn"
