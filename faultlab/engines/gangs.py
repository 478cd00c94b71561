"""Runs of several ranks in the driver: each rank has its own victim, and the run ends when the last one has.

Each attempt of a run gets a new place where its ranks meet. If one rank is lost or passes the deadline, the others are
ended, because they would only wait for it.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from faultlab.core import collectives
from faultlab.core.orders import Order
from faultlab.core.results import Outcome


class Server(Protocol):
    """The connection to the process that forks a rank's victim."""

    def give(self, order: Order) -> None: ...

    def send(self, message: Mapping[str, Any]) -> None: ...


@dataclass
class _Gang:
    order: Order
    meeting: str
    servers: Sequence[Server]
    ended: dict[int, Outcome] = field(default_factory=dict)
    lost: bool = False


class Gangs:
    """The runs of several ranks that are under way.

    ``folder`` is where their ranks meet. ``finish`` takes the outcome of a run, ``take_back`` the order of a run that
    lost the server of a rank.
    """

    def __init__(
        self, folder: str, finish: Callable[[Outcome], None], take_back: Callable[[Order], None] = lambda order: None
    ) -> None:
        self._folder = folder
        self._finish = finish
        self._take_back = take_back
        self._running: dict[str, _Gang] = {}
        self._serial = 0

    def give(self, order: Order, servers: Sequence[Server]) -> None:
        """Send the order of each rank to its server."""
        self._serial += 1
        meeting = os.path.join(self._folder, f"meeting-{id(self)}-{self._serial}")
        self._running[order.id] = _Gang(order, meeting, servers)
        for rank, server in enumerate(servers):
            server.give(replace(order, rank=rank, meeting=meeting))

    def ended(self, rank: int, outcome: Outcome) -> None:
        """Take the outcome of one rank."""
        gang = self._running[outcome.id]
        gang.ended[rank] = outcome
        if outcome.timed_out:
            self._end_others(gang)
        self._conclude(gang)

    def lost(self, order: Order) -> None:
        """Record that the server of a rank is gone."""
        gang = self._running[order.id]
        gang.lost = True
        gang.ended[order.rank] = Outcome(order.id)
        self._end_others(gang)
        self._conclude(gang)

    def _end_others(self, gang: _Gang) -> None:
        for rank, server in enumerate(gang.servers):
            if rank not in gang.ended:
                server.send({"end": gang.order.id})

    def _conclude(self, gang: _Gang) -> None:
        if len(gang.ended) < gang.order.ranks:
            return
        del self._running[gang.order.id]
        if gang.lost:
            self._take_back(gang.order)
        else:
            self._finish(joined(gang.order, [gang.ended[rank] for rank in range(gang.order.ranks)], gang.meeting))


def joined(order: Order, ended: Sequence[Outcome], meeting: str) -> Outcome:
    """Return the outcome of a run from those of its ranks, in rank order, and remove what they met at."""
    outcome = Outcome(
        order.id,
        [result for one in ended for result in (one.results or [None])],
        exit=next((one.exit for one in ended if one.exit < 0), max(one.exit for one in ended)),
        timed_out=any(one.timed_out or any(run.waited for run in one.runs) for one in ended),
        acting=min((one.acting for one in ended if one.acting is not None), default=None),
        output="\n".join(f"rank {rank}:\n{one.output}" for rank, one in enumerate(ended) if one.output),
        seconds=max(one.seconds for one in ended),
        snapshots=[place for place in ended[0].snapshots if all(place in one.snapshots for one in ended)],
        notes=[note for one in ended for note in one.notes],
        exits=tuple(one.exit for one in ended),
        collectives=tuple(collectives.read(meeting, order.ranks)),
    )
    for file in [meeting, *(collectives.file_of(meeting, rank) for rank in range(order.ranks))]:
        with contextlib.suppress(OSError):
            os.unlink(file)
    # Not by the ranks: one may still write while another has ended. A snapshot run's forks read its files.
    if order.root and not order.snapshots:
        shutil.rmtree(order.root, ignore_errors=True)
    return outcome
