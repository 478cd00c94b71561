"""The ranks of a training loop that is written by hand: they meet once for each backward pass of all of them.

Every rank certainly takes part in that, because the gradients are averaged over all of them. In between, a rank may
validate, log or save alone. So alarms are held until the next meeting, and the guards that compare ranks are called
there, with what has happened since the last one. They meet before the forward pass if its wrapper broadcasts buffers
there, so that the time that ranks wait for each other shows; else before the backward pass. Buffers that are broadcast
are the same on all ranks only until the forward pass begins, so their fingerprint is taken there, now and then.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from faultlab.guards.guard import Guard
from faultlab.guards.support import consensus, fingerprints
from faultlab.guards.support.callback import HOOKS, overrides
from faultlab.guards.support.computed_metrics import ComputedMetrics
from faultlab.guards.support.exchange import collective, device_of
from faultlab.guards.support.hand_loop import HandLoop, in_turn

_PATIENCE = timedelta(seconds=30)
"""How long the first meeting waits for ranks whose loop is not watched yet."""
_MOST = 256
"""How many calls are kept for the next meeting. Their batches take memory."""
_EACH = 16
"""From one fingerprint of the buffers to the next, in meetings."""
_ALONE = ("on_exception", "on_fit_end", "setup", "teardown")
_OF_VALIDATION = "validation"
_VALIDATED = "on_validation_batch_end"


class LoopRanks(consensus.Agreement):
    """The ranks that train in one watched loop; see `joined`.

    Args:
        loop: The view of the loop.
        module: The module that trains.
        called: The modules whose calls show that a backward pass of all ranks is coming.
        guards: The guards that watch the loop.
    """

    def __init__(self, loop: HandLoop, module: Any, called: Iterable[Any], guards: Sequence[Any]) -> None:
        super().__init__()
        self._loop, self._module, self._rank = loop, module, dist.get_rank()
        self._comparing = [guard for guard in guards if _compares(guard)]
        self._guards = guards
        self._hooks: Mapping[str, Callable[..., None]] = {}
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._lost = self._due = self._left = False
        self._meetings = 0
        compared = any(getattr(guard, "compares_buffers", False) for guard in self._comparing)
        self._broadcasting = [one for one in called if compared and isinstance(one, DistributedDataParallel)]
        self._unread: list[Any] = []
        reads = any(getattr(guard, "compares_metrics", False) for guard in self._comparing)
        self._metrics = ComputedMetrics(module, loop.val_dataloaders) if reads else None
        self._entered: Any = None
        called_first = [one.register_forward_pre_hook(self._called).remove for one in called]
        called_next = [one.module.register_forward_pre_hook(self._read).remove for one in self._broadcasting]
        self._undo = [*called_first, *called_next]
        for guard in self._comparing:
            guard.exchange.begin()
        loop.is_global_zero = self._rank == 0
        consensus.register(loop, self)
        self._announce()

    def _announce(self) -> None:
        consensus.store().set(f"{self._place}/{self._rank}", "")

    @property
    def hooks(self) -> Mapping[str, Callable[..., None]]:
        """A function for each hook, which calls the guards that do not compare ranks, and notes it for the others."""
        return self.hooks_of(self._guards)

    def hooks_of(self, guards: Iterable[Any]) -> Mapping[str, Callable[..., None]]:
        """Return the hooks for these guards alone, some of those that watch the loop."""
        self._hooks = in_turn(guard for guard in guards if guard not in self._comparing)
        noted = [hook for hook in HOOKS if any(overrides(guard, hook) for guard in self._comparing)]
        return {**self._hooks, **{hook: self._noting(hook) for hook in noted if hook not in _ALONE}}

    def meet(self) -> None:
        """Meet the other ranks, if a backward pass of all of them is coming that they have not met for."""
        due, self._due = self._due, False
        if not due or self._left or not (self._meetings or self._all_watch()):
            return
        begun = time.perf_counter()
        computed = self._metrics.take() if self._metrics is not None else []
        apart = self._metrics is not None and self._metrics.take_apart()
        rows = self._exchange(self._signature(), len(computed), int(apart))
        places = [row[0] for row in rows]
        self._loop.waited = time.perf_counter() - begun
        # Not before the first batch, when no rank has changed its buffers yet.
        if self._meetings % _EACH == 1:
            self._unread, self._loop.broadcast_buffers = [*self._broadcasting], 0
        self._meetings += 1
        pending, self._pending = self._pending, []
        lost, self._lost = self._lost, False
        if not self._comparing:
            return
        if lost or len(set(places)) > 1:
            why = "too many batches between two meetings of the ranks" if lost else "the ranks are in different batches"
            for guard in self._comparing:
                guard.skip(why)
            return
        # A rank may compute some alone.
        self._loop.computed = computed if all(row[1] == len(computed) for row in rows) else ()
        self._loop.is_apart = all(row[2] for row in rows)
        self._loop.is_meeting = True
        try:
            for hook, args in pending:
                self._call(hook, *args)
        finally:
            self._loop.is_meeting = False
        self._exchange(0)

    def end(self) -> None:
        """End the training for the guards that compare ranks, and raise an alarm that no meeting follows.

        Raises:
            Alarm: This rank holds one.
        """
        if self._left:
            return
        for hook in ("on_fit_end", "teardown"):
            self._call(hook, *["fit"] * (hook == "teardown"))
        held, self._held = self._held, None
        if held is not None:
            raise held.on_ranks((self._rank,))

    def failed(self, error: BaseException) -> None:
        """Raise an alarm that was held, or that another rank held at its end, instead of an error that follows."""
        if self._left:
            return
        try:
            self._call("on_exception", error)
        finally:
            self._call("teardown", "fit")
        # A loop may have ended its process group before it fails.
        if dist.is_initialized() and (alarm := self.instead_of(error)) is not None:
            raise alarm from error

    def leave(self) -> None:
        """Hold no alarms any more, and remove all hooks."""
        self._left, self._pending = True, []
        if self._metrics is not None:
            self._metrics.leave()
        consensus.unregister(self._loop)
        while self._undo:
            self._undo.pop()()

    def _called(self, module: Any, args: Any) -> None:
        if not torch.is_grad_enabled():
            return
        # Without synchronization, or while ranks may have different numbers of batches, each may be at another place.
        joins = getattr(getattr(module, "_join_config", None), "enable", False)
        if getattr(module, "require_backward_grad_sync", True) and not joins:
            self._due = True
            broadcasts = getattr(module, "will_sync_module_buffers", None)
            if broadcasts is not None and broadcasts():
                self.meet()
                self._entered = module

    def _read(self, module: Any, args: Any) -> None:
        """Take the fingerprint of a module's buffers, between their broadcast and its forward pass."""
        if torch.compiler.is_compiling():
            return
        wrapper, self._entered = self._entered, None
        if wrapper is not None and wrapper.module is module and any(wrapper is one for one in self._unread):
            self._unread = [one for one in self._unread if one is not wrapper]
            self._loop.broadcast_buffers ^= fingerprints.of_tensors(module.buffers())

    def _noting(self, hook: str) -> Callable[..., None]:
        others = self._hooks.get(hook)

        def note(loop: Any, module: Any, *args: Any) -> None:
            if others is not None:
                others(loop, module, *args)
            if hook == _VALIDATED and self._metrics is not None:
                self._metrics.validated()
            # Not every rank need validate.
            if self._left or _OF_VALIDATION in hook:
                return
            if len(self._pending) < _MOST:
                self._pending.append((hook, args))
            else:
                self._pending, self._lost = [], True

        return note

    def _call(self, hook: str, *args: Any) -> None:
        for guard in self._comparing:
            if overrides(guard, hook):
                getattr(guard, hook)(self._loop, self._module, *args)

    def _signature(self) -> int:
        """Return a number for what has happened since the last meeting, the same on all ranks that are in one batch."""
        happened = [self._loop.current_epoch, self._loop.batch_idx, self._lost, *(hook for hook, _ in self._pending)]
        return zlib.crc32(repr(happened).encode())

    def _exchange(self, *numbers: int) -> list[list[int]]:
        """Return the numbers of all ranks, in rank order. Raise the alarm if one of them holds any."""
        told = torch.tensor([int(self._held is not None), *numbers], dtype=torch.int64, device=device_of(self._module))
        gathered = [torch.empty_like(told) for _ in range(dist.get_world_size())]
        with collective():
            dist.all_gather(gathered, told)
        rows = torch.stack(gathered).tolist()
        if holding := [rank for rank, row in enumerate(rows) if row[0]]:
            self.raise_common(self._loop, holding)
        return [row[1:] for row in rows]

    @property
    def _place(self) -> str:
        return f"faultlab/loop/{self._number}"

    def _all_watch(self) -> bool:
        """Return whether all ranks watch this loop; the same on all that do. If not, this one goes on alone."""
        store, ranks = consensus.store(), range(dist.get_world_size())
        # Again, as a copy of this process may have met the others at another store since the beginning.
        self._announce()
        try:
            store.wait([f"{self._place}/{rank}" for rank in ranks], _PATIENCE)
            found = "all"
        except RuntimeError:
            found = "some"
        if store.compare_set(self._place, "", found) == b"all":
            return True
        for guard in self._comparing:
            guard.skip("another rank does not watch its loop")
        held, self._held = self._held, None
        self.leave()
        if held is not None:
            raise held
        return False


def joined(
    loop: HandLoop, module: Any, called: Sequence[Any], guards: Sequence[Any], together: bool | None
) -> LoopRanks | None:
    """Let the ranks of a loop meet, if there are several that train together; else return None.

    Args:
        loop: The view of the loop.
        module: The module that trains.
        called: The modules that the loop calls.
        guards: The guards that watch the loop.
        together: Whether every rank of the default process group takes part in each backward pass. None: if a module is
            a DistributedDataParallel of all ranks, or sharded over all of them.
    """
    if together is False or not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return None
    parts = [part for one in called for part in one.modules()]
    wrappers = [part for part in parts if isinstance(part, DistributedDataParallel) and _of_all(part.process_group)]
    sharded = [one for one in called if any(map(_is_sharded, one.parameters()))]
    loop.is_sharded = loop.is_sharded or bool(sharded)
    marks = wrappers or sharded or (list(called) if together else [])
    return LoopRanks(loop, module, marks, guards) if marks else None


def _compares(guard: Any) -> bool:
    if not isinstance(guard, Guard) or guard.exchange is None:
        return False
    if overrides(guard, _VALIDATED) and not getattr(guard, "compares_metrics", False):
        guard.skip("the ranks of a loop need not validate together")
    return True


def _of_all(group: Any) -> bool:
    return bool(dist.get_world_size(group) == dist.get_world_size())


def _is_sharded(parameter: Any) -> bool:
    # No process that has such tensors can have got them without the import.
    known = sys.modules.get("torch.distributed.tensor")
    if known is None or not isinstance(parameter, known.DTensor):
        return False
    return bool(parameter.device_mesh.size() == dist.get_world_size())
