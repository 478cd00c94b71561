"""Process groups that record every collective and let faults act on it, around gloo's own.

DDP's reducer calls the group from C++, past the functions of ``torch.distributed``: only the group itself sees its
collectives. Reducers, device meshes and users' code keep groups, so a process that was forked midway keeps them too,
and connects each of them to the other ranks again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from faultlab.core.observing import EXCHANGES
from faultlab.ranks.position import Recorder

BACKEND = "faultlab"
_GLOO = ("gloo", "cpu:gloo", BACKEND)
GRADIENTS = "gradients"
_CALLS = {
    "allreduce": ("all_reduce", "allreduce"),
    "allreduce_coalesced": ("all_reduce", "allreduce_coalesced"),
    "broadcast": ("broadcast", "broadcast"),
    "allgather": ("all_gather", "allgather"),
    "_allgather_base": ("all_gather", "_allgather_base"),
    "all_gather_single": ("all_gather", "_allgather_base"),
    "allgather_coalesced": ("all_gather", "allgather_coalesced"),
    "reduce_scatter": ("reduce_scatter", "reduce_scatter"),
    "_reduce_scatter_base": ("reduce_scatter", "_reduce_scatter_base"),
    "reduce_scatter_single": ("reduce_scatter", "_reduce_scatter_base"),
    "reduce": ("reduce", "reduce"),
    "gather": ("gather", "gather"),
    "scatter": ("scatter", "scatter"),
    "alltoall": ("all_to_all", "alltoall"),
    "alltoall_base": ("all_to_all", "alltoall_base"),
    "all_to_all_single": ("all_to_all", "alltoall_base"),
    "barrier": ("barrier", "barrier"),
    "send": ("send", "send"),
    "recv": ("recv", "recv"),
    "recv_anysource": ("recv", "recv_anysource"),
}
"""The methods of a process group: their names in records, and the methods of gloo, which keep their old names."""
_OF_PAIRS = frozenset({"send", "recv"})
"""Those that only some ranks of a group call, and of different names."""
_HASTE = 3
"""What a rank's patience is divided by if its collective can't end."""
_TOGETHER = {
    "allgather_into_tensor_coalesced": "_allgather_base",
    "all_gather_single_coalesced": "_allgather_base",
    "reduce_scatter_tensor_coalesced": "_reduce_scatter_base",
    "reduce_scatter_single_coalesced": "_reduce_scatter_base",
}
"""Methods for several tensors at once, and those for one."""


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
    """A process group of a rank; ``recorder`` keeps its position.

    ``timeout`` is the group's own, if it has one that a run's patience does not replace.
    """

    def __init__(self, rank: int, size: int, recorder: Recorder, timeout: timedelta | None = None) -> None:
        super().__init__(rank, size)  # type: ignore[call-arg]
        self.inner: Any = None
        self.recorder = recorder
        self.timeout = timeout
        self._place, self._patience = 0, timedelta()

    def connect(self, store: Any, patience: timedelta) -> None:
        """Connect with the other ranks of the group, which meet at the store; forget an earlier connection."""
        _forgotten.append(self.inner)
        self.inner = dist.ProcessGroupGloo(store, self.rank(), self.size(), self.timeout or patience)
        # It counts its collectives from the beginning, as all ranks of the group do.
        self._place, self._patience = 0, patience

    def hasten(self, name: str, arguments: Iterable[Any]) -> None:
        """Count a collective that is performed, and shorten its timeout if another rank performs another in its place.

        What would wait for the timeout then waits for a share of it; what still ends, does so within that.
        """
        if name in _OF_PAIRS:
            return
        self._place += 1
        if self.recorder.performs(self._identity, self._place, name):
            for options in arguments:
                if hasattr(options, "timeout"):
                    options.timeout = self._patience / _HASTE

    @property
    def _identity(self) -> str:
        world = dist.distributed_c10d._world
        return f"{world.pg_names.get(self)} {sorted(world.pg_group_ranks.get(self, ()))}"

    def monitored_barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the other ranks, as gloo's barrier that names the missing ones."""
        self.recorder.enter("barrier")
        self.inner.monitored_barrier(*args, **kwargs)

    @property
    def group_name(self) -> str:  # type: ignore[override]
        """The name that device meshes look the group up by; torch keeps it only for groups of its own."""
        return str(dist.distributed_c10d._world.pg_names[self])

    def getGroupName(self) -> str:  # noqa: N802
        """Return the name to code in C++."""
        return self.group_name

    @property
    def group_desc(self) -> str:
        """A description; see ``group_name``."""
        return "undefined"

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
            group.hasten(name, [*given, *kwargs.values()])
            work = getattr(group.inner, method)(*given, **kwargs)
            group.recorder.begun(work)
            return work

        return begin(*args) if EXCHANGES.at_work() else performed(collective, begin)

    return forwarding


def _one_by_one(method: str) -> Callable[..., Any]:
    def forwarding(group: WatchedGroup, outputs: Any, inputs: Any, options: Any) -> Any:
        *others, last = [getattr(group, method)(output, own, options) for output, own in zip(outputs, inputs)]
        for work in others:
            work.wait()
        return last

    return forwarding


for _method, (_name, _of_gloo) in _CALLS.items():
    setattr(WatchedGroup, _method, _forwarding(_of_gloo, _name))
for _method, _single in _TOGETHER.items():
    setattr(WatchedGroup, _method, _one_by_one(_single))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for one in value for tensor in _tensors(one)] if isinstance(value, (list, tuple)) else []


_forgotten: list[Any] = []
"""What is kept for ever: its destructors join threads that a fork has not, and wait for other ranks."""


def initialise(store: Any, rank: int, size: int, patience: timedelta, recorder: Recorder) -> Any:
    """Make the default process group of this process and return it; groups that are made later are watched too."""

    def create(prefixed: Any, rank: int, size: int, timeout: timedelta) -> WatchedGroup:
        own = timeout if timeout > dist.default_pg_timeout else None
        group = WatchedGroup(rank, size, recorder, own)
        group.connect(prefixed, patience)
        return group

    dist.Backend._plugins.pop(BACKEND.upper(), None)
    dist.Backend.register_backend(BACKEND, create, devices=["cpu"])
    _make_groups_watched()
    dist.init_process_group(BACKEND, store=store, rank=rank, world_size=size, timeout=patience)
    return dist.group.WORLD


def _make_groups_watched() -> None:
    c10d = dist.distributed_c10d
    make = c10d._new_process_group_helper
    if hasattr(make, "__wrapped__"):
        return

    @functools.wraps(make)
    def making(size: int, rank: int, ranks: list[int], backend: Any, *args: Any, **kwargs: Any) -> Any:
        made = make(size, rank, ranks, BACKEND if str(backend) in _GLOO else backend, *args, **kwargs)
        if isinstance(made[0], WatchedGroup):
            world = c10d._world
            # Frameworks ask for the backend's name, because gloo does not support every reduction.
            world.pg_map[made[0]] = (dist.Backend("gloo"), world.pg_map[made[0]][1])
        return made

    c10d._new_process_group_helper = making  # type: ignore[assignment]


def connect_again(store: Any, patience: timedelta) -> Any:
    """Connect all groups of a process that was forked with those of the other ranks; return the default one."""
    world = dist.distributed_c10d._world
    for group, (backend, _) in list(world.pg_map.items()):
        if not isinstance(group, WatchedGroup):
            continue
        prefixed = dist.distributed_c10d.PrefixStore(f"{world.pg_names[group]}/", store)
        group.connect(dist.distributed_c10d.PrefixStore("cpu/", prefixed), patience)
        # Later groups meet at the default group's store.
        world.pg_map[group] = (backend, prefixed)
    return dist.group.WORLD


def forget() -> None:
    """Forget all process groups of this process, without ending them."""
    c10d = dist.distributed_c10d
    world = c10d._world
    _forgotten.extend([dict(world.pg_map), c10d.GroupMember.WORLD])
    for name in ("pg_map", "pg_names", "pg_group_ranks", "pg_backend_config", "pg_to_tag", "tags_to_pg",
                 "pg_coalesce_state"):  # fmt: skip
        getattr(world, name).clear()
    world.group_count, world.default_pg = 0, None
    c10d.GroupMember.WORLD = None
    c10d._unregister_all_process_groups()  # type: ignore[attr-defined]
