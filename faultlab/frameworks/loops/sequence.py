"""Several trainings that follow each other in one process, such as those of a test, followed as one loop after another.

What faults have added to the loop acts in each of them. An object may be made before the training that it belongs to
begins, and a module may be called after its training is over.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from faultlab.core.class_paths import path_of
from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.loops import trainers
from faultlab.frameworks.loops.ahead import Queue
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.resting import RestingPatches
from faultlab.frameworks.loops.roots import Roots
from faultlab.frameworks.torch.wrappers import unwrapped

if TYPE_CHECKING:
    _Loop = Loop
else:
    _Loop = object


class InTurn(_Loop):
    """Mixed into the class of a loop: one loop after another, each with its own layout, modules and steps.

    Attributes:
        current: The number of the training in progress.
        resting: Set while nothing is to be followed.
        entered: Called with the number of a training as it becomes the current one, None for something else.
        leaving: Called as the current training is left for a later one.
        returned: Called with what a module that trains returns.
    """

    def __init__(self, layouts: Sequence[Layout], clock: LoopClock) -> None:
        super().__init__(layouts[0], Trajectory(), clock.tick, clock.take_back)
        self.current = 0
        self.resting = False
        self.entered: Callable[[int | None], None] = lambda number: None
        self.leaving: Callable[[], None] = lambda: None
        self.returned: Callable[[Any], None] = lambda output: None
        self._states = [self._fresh(layout) for layout in layouts]
        self._roots: list[Roots] = [state["roots"] for state in self._states]
        self._owners: dict[int, tuple[torch.optim.Optimizer, int]] = {}
        self._depth = 0
        self._notified: set[int] = set()
        self._places: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()
        for name, value in self._states[0].items():
            setattr(self, name, value)
        clock.follow(self)

    def _fresh(self, layout: Layout) -> dict[str, Any]:
        own = {
            "layout": layout,
            "roots": Roots(layout.roots),
            "optimizers": [],
            "schedulers": [],
            "loaders": {},
            "stage": "train",
            "latest": "train",
            "trajectory": Trajectory(),
            "queue": Queue(self),
            "validated": False,
            "position": LoopClock.BEGINNING,
            "_rates": {},
            "_really_stepped": set(),
            "_forward_due": True,
            "_evaluation_due": False,
            "_configured": False,
            "_notified": set(),
        }
        # The Trainer that runs it, where one does.
        return {**own, "runs": self.runs} if hasattr(self, "runs") else own

    @property
    def position(self) -> tuple[int, int, int]:
        """The position of the clock, which each training has for itself."""
        return self.clock.position if self.clock is not None else LoopClock.BEGINNING

    @position.setter
    def position(self, position: tuple[int, int, int]) -> None:
        if self.clock is not None:
            self.clock.position = position

    def trajectories(self) -> Iterator[tuple[Trajectory, nn.Module | None]]:
        """Yield the course of each training with the module that trained, None if it was not made."""
        self._keep()
        for state in self._states:
            yield state["trajectory"], state["roots"].module

    def attach(self, patches: Patches) -> None:
        super().attach(RestingPatches(patches, lambda: self.resting))

    def _keep(self) -> None:
        state = self._states[self.current]
        state.update({name: getattr(self, name) for name in state})

    def _enter(self, number: int, later: bool = True) -> None:
        """Make a training the current one; ``later`` if those before it are over."""
        if number == self.current:
            return
        if later:
            self.leaving()
        self._keep()
        self.current = number
        for name, value in self._states[number].items():
            setattr(self, name, value)
        self.entered(number)

    @contextmanager
    def _visiting(self, number: int) -> Iterator[None]:
        """Let what happens inside the context belong to another training."""
        before = self.current
        self._enter(number, later=False)
        try:
            yield
        finally:
            self._enter(before, later=False)

    @contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """Let what happens inside the context belong to no training."""
        before, self.resting = self.resting, True
        self.entered(None)
        try:
            yield
        finally:
            self.resting = before
            self.entered(self.current)

    def _notify_once(self, listeners: list[Callable[[], None]]) -> None:
        if self.module is not None and id(listeners) not in self._notified:
            self._notified.add(id(listeners))
            for listener in list(listeners):
                listener()

    def _constructed(self, module: nn.Module, path: str) -> None:
        for roots in self._roots:
            roots.constructed(module, path)

    def _calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        followed = super()._calling(call)

        def told(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            # A module that no optimizer steps has no other moment when it is complete.
            self._notify_once(self.when_constructed)
            output = followed(module, *args, **kwargs)
            self.returned(output)
            return output

        def calling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return call(module, *args, **kwargs)
            if not self._depth:
                self._meet(unwrapped(module))
            place = self._place_of(module)
            if place is None:
                self._depth += 1
                try:
                    return call(module, *args, **kwargs)
                finally:
                    self._depth -= 1
            if place > self.current and torch.is_grad_enabled():
                self._enter(place)
            if place == self.current:
                return told(module, *args, **kwargs)
            with self._visiting(place):
                return told(module, *args, **kwargs)

        return calling

    def _meet(self, module: nn.Module) -> None:
        for number, roots in enumerate(self._roots):
            if roots.awaits and number != self.current:
                roots.called(module, path_of(type(module)))
            elif roots.awaits:
                self._called(module)

    def _place_of(self, module: nn.Module) -> int | None:
        """Return the number of the training that a module belongs to: the current one, a later one, an earlier one."""
        if self.roots.has(module):
            return self.current
        if module in self._places:
            return self._places[module]
        after, before = range(self.current + 1, len(self._roots)), range(self.current)
        place = next((number for number in (*after, *before) if self._roots[number].has(module)), None)
        if place is not None and place < self.current:
            self._places[module] = place
        return place

    def _before_optimizer(self) -> None:
        for number, roots in enumerate(self._roots):
            if roots.module is not None:
                with self._visiting(number):
                    self._notify_once(self.when_constructed)

    def _optimizer_made(self, optimizer: torch.optim.Optimizer) -> None:
        if (owner := self._owner(optimizer)) is None:
            return
        if owner > self.current and (self.steps_begun or self.module is None):
            self._enter(owner)
        if owner == self.current:
            super()._optimizer_made(optimizer)
        elif all(optimizer is not known for known in self._states[owner]["optimizers"]):
            self._states[owner]["optimizers"].append(optimizer)

    def _owner(self, optimizer: torch.optim.Optimizer) -> int | None:
        """Return the number of the training whose module has the parameters of an optimizer."""
        known = self._owners.get(id(optimizer))
        if known is not None:
            return known[1]
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        own = int(self.current)
        for number in (*range(own, len(self._roots)), *range(own)):
            module = self._roots[number].module
            if module is not None and any(id(parameter) in held for parameter in module.parameters()):
                # Ids are only unique among living objects.
                self._owners[id(optimizer)] = optimizer, int(number)
                return int(number)
        return None

    def _scheduler_made(self, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        optimizer = args[0] if args else kwargs.get("optimizer")
        owner = self._owner(optimizer) if isinstance(optimizer, torch.optim.Optimizer) else None
        if owner == self.current:
            super()._scheduler_made(scheduler)
        elif owner is not None:
            self._states[owner]["schedulers"].append(scheduler)

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        followed = super()._stepping(step)

        def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            if self._stepping_now:
                return step(optimizer, *args, **kwargs)
            if id(optimizer) not in self._owners:
                # A module that existed before is only known once it was called.
                self._optimizer_made(optimizer)
            owner = self._owner(optimizer)
            if owner is None:
                with self._elsewhere():
                    return step(optimizer, *args, **kwargs)
            if owner > self.current:
                self._enter(owner)
            if owner == self.current:
                return followed(optimizer, *args, **kwargs)
            with self._visiting(owner):
                return followed(optimizer, *args, **kwargs)

        return stepping

    def _taken_from(self, key: str) -> None:
        if not self.layout.trainer and key not in (*self.layout.training, *self.layout.others):
            later = range(self.current + 1, len(self._states))
            place = next((number for number in later if key in self._states[number]["layout"].training), None)
            if place is not None:
                self._enter(place)


def followed(layouts: Sequence[Layout], clock: LoopClock, of: Layout) -> Any:
    """Return what follows trainings of these layouts, by the names of the Trainer that runs the training ``of``."""
    loop = trainers.loop_of(of)
    return type(f"{loop.__name__}InTurn", (InTurn, loop), {})(layouts, clock)
