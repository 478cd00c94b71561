"""The optimizers and schedulers of a loop, from their construction on, and the steps of its optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from faultlab.core.patching import Patches

if TYPE_CHECKING:
    from faultlab.frameworks.loops.loop import Loop

Step = Callable[[Any], Any]
"""Steps an optimizer with the closure that it is given (None for none)."""


class Updates:
    """Follows every optimizer and scheduler that the process constructs, and tells the loop of each step."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._rates: dict[tuple[int, int], float] = {}
        self._stepping_now = False
        self._stepped: set[type] = set()
        self._really_stepped: set[int] = set()
        self._patches: Patches | None = None

    def attach(self, patches: Patches) -> None:
        """Follow whatever is constructed from now on, until the patches are closed."""
        self._patches = patches
        patches.wrap(torch.optim.Optimizer, "__init__", self._making_optimizer)
        for scheduler in (LRScheduler, ReduceLROnPlateau):
            patches.wrap(scheduler, "__init__", self._making_scheduler)

    def restart(self) -> None:
        """Forget the optimizers of the call that has ended."""
        self._rates, self._really_stepped, self._stepping_now = {}, set(), False

    def _making_optimizer(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        loop = self._loop

        def making(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            loop.making_optimizer()
            construct(optimizer, *args, **kwargs)
            if not any(optimizer is known for known in loop.optimizers):
                loop.made_optimizer(optimizer)
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
                around = self._loop.around_step
                result = around[-1](optimizer, closure, genuine) if around else genuine(closure)
            finally:
                self._stepping_now = False
            if id(optimizer) not in self._really_stepped:
                # What a scheduler has put around the step takes it for called, and would not warn.
                optimizer._opt_called = False  # type: ignore[attr-defined]
            self._loop.updated()
            self._hurry(optimizer)
            return result

        return stepping

    def _hurry(self, optimizer: torch.optim.Optimizer) -> None:
        loop = self._loop
        loop.hurrying = True
        try:
            for scheduler in loop.hurried:
                if scheduler.optimizer is optimizer:
                    scheduler.step()
        finally:
            loop.hurrying = False

    def _note_rates(self) -> None:
        loop = self._loop
        for number, optimizer in enumerate(loop.optimizers):
            for index, group in enumerate(optimizer.param_groups):
                rate = float(group.get("lr") or 0.0)
                if rate != self._rates.get((number, index)):
                    self._rates[number, index] = rate
                    loop.trajectory.learning_rates.append((loop.step, rate))

    def _making_scheduler(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def making(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            if not any(scheduler is known for known in self._loop.schedulers):
                self._loop.schedulers.append(scheduler)
            construct(scheduler, *args, **kwargs)

        return making
