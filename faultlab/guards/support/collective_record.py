"""A record of the collectives that this rank's Python code enters.

It covers what goes through a process group's methods: `torch.distributed`, Lightning's and torchmetrics' reductions.
The collectives of backward passes, of DistributedDataParallel and of guards are left out: they come from C++ or are
known to agree.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from faultlab.guards.support.exchange import exchanging

KEPT = 256
"""How many of the latest collectives are kept as text."""

# A table of its own, as guards import nothing of campaigns. Ranks that send to each other differ on purpose.
_NAMES = {
    "allreduce": "all_reduce",
    "allreduce_coalesced": "all_reduce",
    "broadcast": "broadcast",
    "allgather": "all_gather",
    "_allgather_base": "all_gather",
    "allgather_coalesced": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "_reduce_scatter_base": "reduce_scatter",
    "reduce": "reduce",
    "gather": "gather",
    "scatter": "scatter",
    "alltoall": "all_to_all",
    "alltoall_base": "all_to_all",
    "barrier": "barrier",
    "all_gather_single": "all_gather",
    "reduce_scatter_single": "reduce_scatter",
    "all_to_all_single": "all_to_all",
}
_POINT_TO_POINT = ("send", "recv", "recv_anysource")
_WIDTH = 1 << 63


class Record:
    """The collectives that were entered since it began: how many, a digest of them in order, and the latest as text.

    ``exchanges`` counts those of all groups that pass values on, which barriers do not, and messages between two ranks.
    """

    def __init__(self) -> None:
        self.count = self.digest = self.exchanges = 0
        self.latest: deque[str] = deque(maxlen=KEPT)

    def enter(self, text: str) -> None:
        """Note that this rank enters a collective."""
        self.count += 1
        self.latest.append(text)
        of_all = hashlib.sha256(f"{self.digest} {text}".encode()).digest()
        self.digest = int.from_bytes(of_all[:8], "big") % _WIDTH

    def state(self) -> tuple[int, list[str]]:
        """Return the count and the latest."""
        return self.count, list(self.latest)


def difference(states: list[tuple[int, list[str]] | None]) -> str:
    """Return where the collectives of some rank first differ from those of the first that is known, as a clause.

    Empty if they don't, as far as all of them were entered and are still known.
    """
    known = [(rank, *state) for rank, state in enumerate(states) if state is not None]
    if len(known) < 2:
        return ""
    (first, count, latest), *others = known
    for number in range(max(count - len(latest) for _, count, latest in known), max(one[1] for one in known)):
        own = _at(number, count, latest)
        for rank, its_count, its_latest in others:
            its = _at(number, its_count, its_latest)
            if own is not None and its is not None and own != its:
                return f"rank {rank} entered {its}, where rank {first} entered {own}"
    return ""


def _at(number: int, count: int, latest: list[str]) -> str | None:
    place = number - (count - len(latest))
    return latest[place] if 0 <= place < len(latest) else None


_records: list[Record] = []
_undo: list[Callable[[], None]] = []


def begin() -> Record:
    """Begin a record."""
    record = Record()
    _records.append(record)
    if len(_records) == 1:
        _wrap(type(dist.group.WORLD))
    return record


def end(record: Record | None) -> None:
    """End a record, and leave process groups as they were with the last one."""
    if record in _records:
        _records.remove(record)
    while _undo and not _records:
        _undo.pop()()


def _wrap(kind: type) -> None:
    for method, name in {**_NAMES, **dict.fromkeys(_POINT_TO_POINT, "")}.items():
        original = getattr(kind, method, None)
        if original is None:
            continue
        own = vars(kind).get(method)

        def restore(method: str = method, own: Any = own) -> None:
            if own is None:
                delattr(kind, method)
            else:
                setattr(kind, method, own)

        setattr(kind, method, _recording(original, name) if name else _exchanging(original))
        _undo.append(restore)


def _recording(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def recording(group: Any, *args: Any, **kwargs: Any) -> Any:
        if not exchanging() and not _is_of_replica():
            for record in _records:
                record.exchanges += name != "barrier"
        if group is dist.group.WORLD and not exchanging() and not _is_of_replica():
            text = f"{name}{_shapes([*args, *kwargs.values()])}"
            for record in _records:
                record.enter(text)
        return original(group, *args, **kwargs)

    return recording


def _exchanging(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def passing(group: Any, *args: Any, **kwargs: Any) -> Any:
        for record in _records:
            record.exchanges += 1
        return original(group, *args, **kwargs)

    return passing


def _is_of_replica() -> bool:
    """Return whether a backward pass or DistributedDataParallel enters the collective."""
    if torch._C._current_graph_task_id() != -1:
        return True
    return "/torch/nn/parallel/" in sys._getframe(2).f_code.co_filename.replace("\\", "/")


def _shapes(arguments: list[Any]) -> str:
    tensors = [tensor for argument in arguments for tensor in _tensors(argument)]
    text = " and ".join(f"{str(one.dtype).removeprefix('torch.')}{list(one.shape)}" for one in tensors[:3])
    more = f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
    return f" of {text}{more}" if text else ""


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for one in value for tensor in _tensors(one)] if isinstance(value, (list, tuple)) else []
