"""A process group that records every collective and lets faults act on it, around gloo's own.

DDP's reducer calls the group from C++, past the functions of ``torch.distributed``: only the group itself sees its
collectives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from faultlab.ranks.position import Recorder

BACKEND = "faultlab"
GRADIENTS = "gradients"
_NAMES = {
    "allreduce": "all_reduce",
    "allreduce_coalesced": "all_reduce",
    "broadcast": "broadcast",
    "allgather": "all_gather",
    "_allgather_base": "all_gather",
    "allgather_coalesced": "all_gather",
    "allgather_into_tensor_coalesced": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "_reduce_scatter_base": "reduce_scatter",
    "reduce_scatter_tensor_coalesced": "reduce_scatter",
    "reduce": "reduce",
    "gather": "gather",
    "scatter": "scatter",
    "alltoall": "all_to_all",
    "alltoall_base": "all_to_all",
    "barrier": "barrier",
    "send": "send",
    "recv": "recv",
    "recv_anysource": "recv",
    "monitored_barrier": "barrier",
}
_SINGLE = {
    "all_gather_single": "_allgather_base",
    "reduce_scatter_single": "_reduce_scatter_base",
    "all_to_all_single": "alltoall_base",
}
"""The methods that torch.distributed calls from torch 2.13 on, with what gloo's group still calls them."""


@dataclass
class Collective:
    """One call of a collective.

    Attributes:
        name: Its name, such as all_reduce.
        of: ``gradients`` if a backward pass calls it; else empty.
        size: The number of ranks.
        arguments: Its arguments; the tensors come first, then the options.
        tensors: The tensors among its arguments, which hold the result once it has ended.
    """

    name: str
    of: str
    size: int
    arguments: tuple[Any, ...]
    tensors: list[torch.Tensor] = field(default_factory=list)

    def skipped(self) -> Any:
        """Return the work of a collective that does not take place."""
        work = torch.futures.Future()  # type: ignore[var-annotated]
        work.set_result(self.tensors)
        return torch._C._distributed_c10d._create_work_from_future(work)  # type: ignore[attr-defined]


def performed(collective: Collective, call: Callable[..., Any]) -> Any:
    """Perform a collective and return its work. The hook of the injection point wraps this function."""
    return call(*collective.arguments)


class WatchedGroup(dist.ProcessGroup):
    """The process group of a rank; ``recorder`` keeps its position."""

    def __init__(self, inner: Any, rank: int, size: int, recorder: Recorder) -> None:
        super().__init__(rank, size)  # type: ignore[call-arg]
        self.inner = inner
        self.recorder = recorder

    def getBackendName(self) -> str:  # noqa: N802
        """Return a name that keeps C++ code from casting this group to gloo's."""
        return "watched"


def _forwarding(method: str, name: str) -> Callable[..., Any]:
    def forwarding(group: WatchedGroup, *args: Any, **kwargs: Any) -> Any:
        group.recorder.enter(name)
        # The number of the running backward pass; -1 outside of one.
        of = GRADIENTS if torch._C._current_graph_task_id() != -1 else ""
        collective = Collective(name, of, group.size(), args, _tensors(args))

        def begin(*given: Any) -> Any:
            work = getattr(group.inner, method)(*given, **kwargs)
            group.recorder.begun(work)
            return work

        return begin(*args) if _is_of_guards() else performed(collective, begin)

    return forwarding


def _is_of_guards() -> bool:
    # Not imported for this: the first import of the guards decides which framework their callbacks belong to.
    exchange = sys.modules.get("faultlab.guards.support.exchange")
    return exchange is not None and exchange.exchanging()


for _method, _name in _NAMES.items():
    if hasattr(dist.ProcessGroup, _method):
        setattr(WatchedGroup, _method, _forwarding(_method, _name))
for _method, _of_gloo in _SINGLE.items():
    if hasattr(dist.ProcessGroup, _method):
        setattr(WatchedGroup, _method, _forwarding(_of_gloo, _NAMES[_of_gloo]))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for one in value for tensor in _tensors(one)] if isinstance(value, (list, tuple)) else []


def initialise(store: Any, rank: int, size: int, patience: timedelta, recorder: Recorder) -> Any:
    """Make the default process group of this process and return it."""

    def create(prefixed: Any, rank: int, size: int, timeout: timedelta) -> WatchedGroup:
        return WatchedGroup(dist.ProcessGroupGloo(prefixed, rank, size, timeout), rank, size, recorder)

    dist.Backend._plugins.pop(BACKEND.upper(), None)
    dist.Backend.register_backend(BACKEND, create, devices=["cpu"])
    dist.init_process_group(BACKEND, store=store, rank=rank, world_size=size, timeout=patience)
    group = dist.group.WORLD
    assert group is not None
    world = dist.distributed_c10d._world
    # Frameworks ask for the backend's name, because gloo does not support every reduction.
    world.pg_map[group] = (dist.Backend("gloo"), world.pg_map[group][1])
    return group


_forgotten: list[Any] = []


def keep_for_ever(group: Any) -> None:
    """Keep a group that is used no more: its destructor joins threads that a fork has not, and waits for others."""
    _forgotten.append(group)


def forget() -> None:
    """Forget all process groups of this process, without ending them.

    They are kept for ever: their destructors join threads that a fork has not, and wait for other ranks.
    """
    c10d = dist.distributed_c10d
    world = c10d._world
    _forgotten.extend([dict(world.pg_map), c10d.GroupMember.WORLD])
    for name in ("pg_map", "pg_names", "pg_group_ranks", "pg_backend_config", "pg_to_tag", "tags_to_pg",
                 "pg_coalesce_state"):  # fmt: skip
        getattr(world, name).clear()
    world.group_count, world.default_pg = 0, None
    c10d.GroupMember.WORLD = None
    c10d._unregister_all_process_groups()  # type: ignore[attr-defined]
