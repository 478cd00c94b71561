"""Engines execute runs: they take orders and return outcomes. They judge nothing.

They import nothing of the campaign or of any other layer above, and Lightning only through `faultlab.frameworks`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from faultlab.core import plug_ins
from faultlab.core.cores import cores as cores
from faultlab.core.orders import Order
from faultlab.core.results import Outcome

ENTRY_POINT_GROUP = "faultlab.engines"
BUILT_IN = {"fork": "faultlab.engines.fork:ForkEngine", "spawn": "faultlab.engines.spawn:SpawnEngine"}
"""The factory of each engine, which takes the number of jobs. It is imported only when its engine is used."""


@dataclass(frozen=True)
class Capabilities:
    """The features of an engine.

    Attributes:
        snapshots: Runs may begin midway, as forks of a training that continues.
        groups: A run may consist of several processes.
        echo: The output of a run can be shown as it is printed.
        shared_filesystem: Runs find the driver's files under the driver's paths.
    """

    snapshots: bool = False
    groups: bool = False
    echo: bool = False
    shared_filesystem: bool = False


class Engine(Protocol):
    """The interface of an engine. The driver closes every engine that it creates.

    Attributes:
        jobs: The number of processes at a time.
        alone: No scenario follows the open one, so nothing need be imported ahead.
    """

    @property
    def capabilities(self) -> Capabilities:
        """The features that orders may use."""

    jobs: int
    alone: bool

    @property
    def ranks(self) -> int:
        """The number of processes of each training of the open scenario."""

    @property
    def root(self) -> str:
        """The folder that runs may write to; the engine deletes it when it is closed."""

    def keep_warm(self) -> None:
        """Share a process that has imported the installed packages with earlier and later commands, if possible."""

    def preload(self, package: str) -> None:
        """Import a package ahead for later scenarios, if possible.

        Args:
            package: The name of a module.
        """

    def open(self, name: str, scenario: Mapping[str, Any]) -> None:
        """Prepare a scenario for runs, and leave the previous one.

        Args:
            name: The scenario's name.
            scenario: The scenario as victims receive it.

        Raises:
            TargetError: The target can't be imported.
        """

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        """Execute the orders, ``jobs`` at a time, and yield each outcome as it arrives.

        Args:
            orders: Orders of the open scenario, in any order.

        Yields:
            One outcome for each order. A run that crashes, hangs or is killed has an outcome too.

        Raises:
            UsageError: An order asks for a feature that the engine does not have.
        """

    def close(self) -> None:
        """End every process that the engine started, whatever its state."""


def refuse_groups(engine: Engine, orders: Sequence[Order]) -> None:
    """Raise UsageError for an order of several ranks if the engine runs single processes only."""
    from faultlab.errors import UsageError

    asked = next((order for order in orders if order.ranks > 1), None)
    if asked is not None and not engine.capabilities.groups:
        raise UsageError(
            f"{asked.id} asks for {asked.ranks} ranks, but this engine runs one process per training; ask for one rank"
        )


def added() -> dict[str, EntryPoint]:
    """Return the entry points of the engines that installed packages add, by name."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name not in BUILT_IN}


def names() -> list[str]:
    """Return the names of all engines, faultlab's own first."""
    return [*BUILT_IN, *sorted(added())]


def create(name: str, jobs: int) -> Engine:
    """Return a new engine of that name.

    Args:
        name: One of `names`.
        jobs: The number of runs at a time.

    Raises:
        UsageError: The name is unknown, its package can't be imported, the system can't fork for ``fork``, or a
            launcher of ranks has started this process.
    """
    from faultlab.config.several_ranks import refuse_launchers
    from faultlab.errors import UsageError

    refuse_launchers()
    if name == "fork" and not hasattr(os, "fork"):
        raise UsageError("this system can't fork processes; use --engine spawn")
    if name in BUILT_IN:
        module, _, cls = BUILT_IN[name].partition(":")
        own: Engine = getattr(importlib.import_module(module), cls)(jobs)
        return own
    make: Callable[[int], Engine] = plug_ins.loaded("engine", name, added(), names())
    return make(jobs)


def checked_jobs(asked: int | None) -> int:
    """Return the number of runs at a time: the number asked for, or one for each core.

    Raises:
        UsageError: More are asked for than there are cores.
    """
    from faultlab.errors import UsageError

    if asked is not None and asked > cores():
        raise UsageError(
            f"{asked} jobs on {cores()} cores: runs that share a core are not faster, use more memory, and reach their "
            f"deadlines sooner; use at most {cores()}"
        )
    return asked or cores()


def default() -> str:
    """Return the name of the default engine on this system."""
    return "fork" if hasattr(os, "fork") else "spawn"
