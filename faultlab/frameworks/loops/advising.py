"""Guards over a training loop: they watch it as `faultlab.guards.watch` does in the user's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

Hooks = Mapping[str, Callable[..., None]]


class Advising:
    """Calls the hooks of guards in the course of a loop, from its first step on.

    Args:
        beside: A function for each hook of the guards that are not part of the training.
        batches: Whether the batches of the training come from a loader.
        guards: The user's guards, which are called before those.
    """

    def __init__(self, beside: Hooks, batches: bool, guards: Sequence[Any] = ()) -> None:
        self._beside, self._batches, self._guards = beside, batches, guards
        self._watcher: Any = None

    def begin(
        self, modules: Sequence[nn.Module], optimizers: list[Optimizer], updates: int = 0, epochs: int = 0
    ) -> None:
        """Watch the modules before their first step, after the updates and epochs of an earlier call."""
        if self._watcher is None and (self._beside or self._guards):
            # Not imported before: the first import of the guards decides which framework their callbacks belong to.
            from faultlab.guards.support.hand_loop import in_turn
            from faultlab.guards.support.several import Several
            from faultlab.guards.support.watched_loop import WatchedLoop
            from faultlab.guards.support.watcher import Watcher

            used = _of(modules, optimizers)
            loop = WatchedLoop(used, None, None, None, -1)
            loop.callbacks = self._guards
            loop.global_step, loop.current_epoch = updates, epochs
            hooks = _together(in_turn(self._guards), self._beside) if self._guards else self._beside
            module = modules[0] if len(modules) == 1 else Several(modules, automatic=len(used) == 1)
            self._watcher = Watcher(module, loop, hooks, self._batches, modules)
            if self._batches:
                self._watcher.iterated("train")

    def made(self, optimizer: Optimizer, modules: Sequence[nn.Module]) -> None:
        """Watch an optimizer that was made after the first step."""
        if self._watcher is not None and _of(modules, [optimizer]):
            self._watcher.add(optimizer)

    def iterated(self, stage: str) -> None:
        """Note that a loader is iterated over."""
        if self._watcher is not None:
            self._watcher.iterated(stage)

    def asked(self, stage: str) -> None:
        """Note that the loop asks for the next batch."""
        if self._watcher is not None:
            self._watcher.asked(stage)

    def delivered(self, stage: str, batch: Any) -> None:
        """Note that the loop gets a batch."""
        if self._watcher is not None:
            self._watcher.delivered(stage, batch)

    def exhausted(self, stage: str) -> None:
        """Note that a loader has no more batches."""
        if self._watcher is not None:
            self._watcher.exhausted(stage)

    def end(self, error: BaseException | None) -> None:
        """End the training for the guards, with the exception that ended it, if any."""
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        try:
            if error is None:
                watcher.end()
            else:
                watcher.course.call("on_exception", error)
        finally:
            watcher.leave()


def _of(modules: Sequence[nn.Module], optimizers: list[Optimizer]) -> list[Optimizer]:
    """Return the optimizers that hold parameters of the modules. A fault may have exchanged those of the only one."""
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    holding = [one for one in optimizers if any(id(p) in own for group in one.param_groups for p in group["params"])]
    return holding or optimizers[:1] if len(optimizers) == 1 else holding


def _together(first: Hooks, second: Hooks) -> Hooks:
    """Return the hooks of both, those that both have calling one after the other."""

    def both(hook: str) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            first[hook](*args, **kwargs)
            second[hook](*args, **kwargs)

        return call

    return {**first, **second, **{hook: both(hook) for hook in first.keys() & second.keys()}}
