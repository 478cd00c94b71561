"""How a training that makes its process group itself joins the ranks of its run, whatever it names as its rendezvous.

The training calls ``init_process_group`` as it would under ``torchrun``. Its ranks meet at the file of their run, so no
port is taken, and every group it makes of gloo's is watched. A copy of it that was forked midway keeps its groups;
only new connections are made below them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.ranks.position import Recorder
from faultlab.ranks.process_group import BACKEND, WatchedGroup, connect_again

_WHERE = ("ranks",)
_OF_GLOO = ("gloo", "undefined", "cpu:gloo")
SPAWN = "torch.multiprocessing.spawn"


class RankEnds(BaseException):
    """The function that `torch.multiprocessing.spawn` was to call in this rank's process has returned."""


class Joining:
    """Lets the calls of a training's own join a run's ranks.

    Unless ``strict``, the training may name another number of ranks, or another rank.

    Attributes:
        joined: True once the training has made its process group.
    """

    def __init__(self, rank: int, size: int, recorder: Recorder, strict: bool = True) -> None:
        self.joined = False
        self._strict = strict
        self._rank, self._size, self._recorder = rank, size, recorder
        self._store: Any = None
        self._patience = timedelta(seconds=30)

    def attach(self, patches: Patches) -> None:
        """Take the training's calls until the patches are closed."""
        dist.Backend._plugins.pop(BACKEND.upper(), None)
        dist.Backend.register_backend(BACKEND, self._create, devices=["cpu"])
        patches.set(dist.distributed_c10d, "rendezvous", self._rendezvous)
        patches.wrap(dist.distributed_c10d, "_new_process_group_helper", self._making)
        take_spawn(patches, self._spawning)

    def meet(self, store: Any, patience: timedelta) -> None:
        """Let the ranks meet at this store from now on, and connect the groups of this process there again."""
        self._store, self._patience = store, patience
        connect_again(store, patience)

    def _create(self, prefixed: Any, rank: int, size: int, timeout: timedelta) -> WatchedGroup:
        group = WatchedGroup(rank, size, self._recorder)
        group.connect(prefixed, min(timeout, self._patience))
        return group

    def _rendezvous(self, url: str, rank: int = -1, world_size: int = -1, **more: Any) -> Iterator[Any]:
        if self._strict and world_size not in (-1, self._size):
            message = f"init_process_group has world_size={world_size}, but the scenario has `ranks: {self._size}`"
            raise TargetError(_WHERE, message, "Let both name the same number, or read WORLD_SIZE as under torchrun.")
        if self._strict and rank not in (-1, self._rank):
            message = f"init_process_group has rank={rank} in the process of rank {self._rank}"
            raise TargetError(_WHERE, message, "Read the rank from the environment variable RANK, as under torchrun.")
        yield self._store, self._rank, self._size

    def _making(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def making(size: int, rank: int, ranks: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
            self.joined = True
            if str(backend).partition(",")[0] not in _OF_GLOO:
                return make(size, rank, ranks, backend, *args, **kwargs)
            group, store = make(size, rank, ranks, dist.Backend(BACKEND), *args, **kwargs)
            if isinstance(group, WatchedGroup):
                # Training code asks for the backend's name, because gloo does not support every reduction.
                dist.distributed_c10d._world.pg_map[group] = dist.Backend("gloo"), store
            return group, store

        return making

    def _spawning(self, function: Callable[..., Any], args: Any, processes: int) -> None:
        if self._strict and processes != self._size:
            message = f"the training starts {processes} processes, but the scenario has `ranks: {self._size}`"
            raise TargetError(_WHERE, message, f"Set `ranks: {processes}`.")
        # The processes are there: this is one of them.
        function(self._rank, *args)
        if self._rank:
            raise RankEnds


def take_spawn(patches: Patches, spawned: Callable[[Callable[..., Any], Any, int], None]) -> None:
    """Call ``spawned`` with the function, its arguments and the number of processes, instead of starting them."""

    class Joined:
        def join(self, *args: Any, **kwargs: Any) -> bool:
            return True

    def make(start: Callable[..., Any]) -> Callable[..., Any]:
        def starting(fn: Any, args: Any = (), nprocs: int = 1, join: bool = True, *rest: Any, **more: Any) -> Any:
            spawned(fn, args, nprocs)
            return None if join else Joined()

        return starting

    import torch.multiprocessing

    # The package has a function of the module's name.
    patches.wrap(sys.modules[SPAWN], "start_processes", make)
    patches.wrap(torch.multiprocessing, "start_processes", make)


def refuse(patches: Patches) -> None:
    """Raise TargetError instead of waiting for other processes, in a training that is to have only one."""

    def rendezvous(original: Callable[..., Any]) -> Callable[..., Any]:
        def meeting(url: str, rank: int = -1, world_size: int = -1, **more: Any) -> Any:
            size = world_size if world_size > 0 else _number(os.environ.get("WORLD_SIZE"))
            if size > 1 or (not size and url.startswith("env:")):
                _refuse("it joins a process group", max(2, size))
            return original(url, rank, world_size, **more)

        return meeting

    def spawned(function: Callable[..., Any], args: Any, processes: int) -> None:
        _refuse(f"it starts {processes} process{'es' * (processes > 1)} by {SPAWN}", processes)

    patches.wrap(dist.distributed_c10d, "rendezvous", rendezvous)
    take_spawn(patches, spawned)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def _refuse(does: str, ranks: int) -> None:
    if ranks < 2:
        raise TargetError(("train",), does, "Name the function that it calls there under `train`.")
    raise TargetError(("train",), does, f"Add `ranks: {ranks}` to the scenario: faultlab starts them itself.")
