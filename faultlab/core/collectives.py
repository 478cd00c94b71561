"""The position of each rank in the sequence of collectives, and what it shows about a hang.

Every rank keeps its position in a file, which outlives the process: a rank that is killed can't report.
"""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STOCK_PATIENCE = 1800
"""The seconds that torch waits for a collective of gloo by default."""
SIZE = 256
"""The bytes of a position, and of what follows it in a rank's file: the collective of a group that the rank is in."""


@dataclass(frozen=True)
class Position:
    """The last collective that a rank entered; ``number`` counts them from 1, and is 0 before the first.

    ``step`` is the training step of that call. It is ``earlier`` if that was before the process of the run was forked.
    """

    rank: int
    number: int = 0
    name: str = ""
    step: int = 0
    earlier: bool = False

    @property
    def told(self) -> str:
        """The position in words."""
        if not self.number:
            return "no collective yet"
        return f"{self.name} (its {_ordinal(self.number)} collective, in step {self.step})"


def file_of(meeting: str, rank: int) -> str:
    """Return the path of a rank's file for the run whose ranks meet there."""
    return f"{meeting}.rank-{rank}"


def to_bytes(number: int, name: str, step: int, earlier: bool = False) -> bytes:
    """Return the first half of the content of a rank's file."""
    return json.dumps([number, name, step, earlier]).encode().ljust(SIZE)


def of_group_to_bytes(group: str, place: int, name: str) -> bytes:
    """Return the second half of the content of a rank's file: the collective that it performs, the group's n-th."""
    # The group's name may be long, and other ranks may read while this one writes.
    told = json.dumps([zlib.crc32(group.encode()), place, name]).encode()
    return (b"%d %s" % (zlib.crc32(told), told)).ljust(SIZE)


def contradict(own: bytes, other: bytes) -> bool:
    """Return whether two ranks are in different collectives at the same place of one group: none of both can end.

    Args:
        own: The second half of this rank's file.
        other: That of another rank, which may be writing it.
    """
    if own == other:
        return False
    try:
        (group, place, name), (its_group, its_place, its_name) = _of_group(own), _of_group(other)
    except ValueError:
        return False
    return (group, place) == (its_group, its_place) and name != its_name


def _of_group(half: bytes) -> list[Any]:
    sum_, _, told = half.partition(b" ")
    told = told.rstrip()
    if not sum_.isdigit() or zlib.crc32(told) != int(sum_):
        raise ValueError("half written")
    found: list[Any] = json.loads(told)
    return found


def read(meeting: str, ranks: int) -> list[Position]:
    """Return the positions of all ranks; one that has entered no collective is at number 0."""
    found = []
    for rank in range(ranks):
        try:
            with open(file_of(meeting, rank), "rb") as file:
                number, name, step, earlier = json.loads(file.read(SIZE))
            found.append(Position(rank, int(number), str(name), int(step), bool(earlier)))
        except (OSError, ValueError, TypeError):
            found.append(Position(rank))
    return found


def standstill(positions: Sequence[Position]) -> str:
    """Return in words which ranks wait for which others; empty if nothing is known."""
    if not any(position.number and not position.earlier for position in positions):
        return ""
    least = min(position.number for position in positions)
    # A broadcast doesn't wait for its receivers, so ranks may wait in different collectives for the one behind them.
    waiting = sorted((one for one in positions if one.number > least), key=lambda one: (one.number, one.rank))
    behind = [one for one in positions if one.number == least]
    if waiting:
        places = [list(ranks) for _, ranks in itertools.groupby(waiting, key=lambda one: (one.number, one.name))]
        told = "; ".join(f"{_who([one.rank for one in ranks])} waits in {ranks[0].told}" for ranks in places)
        them = "it" if len(places) == 1 else "them"
        return f"{told}; " + "; ".join(f"rank {one.rank} has not entered {them}, after {one.told}" for one in behind)
    names = {one.name for one in behind}
    if len(names) > 1:
        return ", ".join(f"rank {one.rank} in {one.told}" for one in behind)
    return f"all ranks are in {behind[0].told}, so this may be slowness"


def is_deadlock(positions: Sequence[Position]) -> bool:
    """Return whether the ranks wait in different collectives, as many as they have entered: none can ever end."""
    if any(position.earlier for position in positions):
        return False
    return len({position.number for position in positions}) == 1 and len({position.name for position in positions}) > 1


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _who(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else "each of the ranks " + ", ".join(map(str, ranks))
