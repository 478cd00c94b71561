"""The optimizers and schedulers of a training loop, followed from before they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.roots import Roots

Step = Callable[[Any], Any]
"""Steps an optimizer with the closure that it is given (None for none)."""


class Optimizing:
    """Follows the optimizers of a loop. A fault adds to ``around_step`` what steps an optimizer in their place."""

    trajectory: Trajectory
    roots: Roots
    advising: Advising
    when_constructed: list[Callable[[], None]]
    _forward_due: bool

    def __init__(self) -> None:
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list[Any] = []
        self.around_step: list[Callable[[torch.optim.Optimizer, Any, Step], Any]] = []
        self._stepping_now = False
        self._rates: dict[tuple[int, int], float] = {}
        self._stepped: set[type] = set()
        self._really_stepped: set[int] = set()
        self._patches: Patches | None = None

    @property
    def counts_forwards(self) -> bool:
        """True if a step begins with a call of the root module."""
        raise NotImplementedError

    @property
    def module(self) -> nn.Module | None:
        """The module that trains."""
        raise NotImplementedError

    @property
    def step(self) -> int:
        """The number of the training step in progress."""
        raise NotImplementedError

    def _notify_once(self, listeners: list[Callable[[], None]]) -> None:
        raise NotImplementedError

    def _before_optimizer(self) -> None:
        self._notify_once(self.when_constructed)

    def _optimizer_made(self, optimizer: torch.optim.Optimizer) -> None:
        if not any(optimizer is known for known in self.optimizers):
            self.optimizers.append(optimizer)
            if self.module is not None:
                self.advising.made(optimizer, self.roots.found[0])

    def _scheduler_made(self, scheduler: Any, *args: Any, **kwargs: Any) -> None:
        if not any(scheduler is known for known in self.schedulers):
            self.schedulers.append(scheduler)

    def _making_optimizer(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def making(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            self._before_optimizer()
            construct(optimizer, *args, **kwargs)
            self._optimizer_made(optimizer)
            cls = type(optimizer)
            if cls not in self._stepped and self._patches is not None:
                # Before a scheduler captures it.
                self._stepped.add(cls)
                self._patches.wrap(cls, "step", self._stepping)

        return making

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            # A class inherits the step of another whose step is replaced too.
            if self._stepping_now:
                return step(optimizer, *args, **kwargs)
            self._stepping_now = True
            try:
                closure = args[0] if args else kwargs.pop("closure", None)
                others = args[1:]

                def genuine(own: Any) -> Any:
                    self._really_stepped.add(id(optimizer))
                    return step(optimizer, *((own, *others) if own is not None or others else ()), **kwargs)

                self._note_rates()
                result = self.around_step[-1](optimizer, closure, genuine) if self.around_step else genuine(closure)
            finally:
                self._stepping_now = False
            if id(optimizer) not in self._really_stepped:
                # What a scheduler has put around the step takes it for called, and would not warn.
                optimizer._opt_called = False  # type: ignore[attr-defined]
            self.trajectory.global_step += 1
            if self.counts_forwards:
                self._forward_due = True
            return result

        return stepping

    def _note_rates(self) -> None:
        for number, optimizer in enumerate(self.optimizers):
            for index, group in enumerate(optimizer.param_groups):
                rate = float(group.get("lr") or 0.0)
                if rate != self._rates.get((number, index)):
                    self._rates[number, index] = rate
                    self.trajectory.learning_rates.append((self.step, rate))

    def _making_scheduler(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def making(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            self._scheduler_made(scheduler, *args, **kwargs)
            construct(scheduler, *args, **kwargs)

        return making
