"""Injection points in a process where the user's code builds modules, trains them and calls their steps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.base import Framework
from faultlab.frameworks.torch.weights import digest
from faultlab.injection import compilation, hooks, tree
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
from faultlab.injection.hooks import Site


class Embedding:
    """A context that makes the faults act on every module of the target's class, whatever trains or calls it.

    Each training counts its steps from 0; a direct call of the training step counts as a step. ``fingerprint`` records
    the results of the trainings and direct calls: runs that differ have different fingerprints.
    """

    def __init__(
        self, framework: Framework, target: type, armed: Iterable[Armed], clock: Clock, folder: str = ""
    ) -> None:
        self._foreign = framework.foreign
        self.target = target
        self.clock = clock
        self.fingerprint: list[str] = []
        self.used = False
        self.site = Site(target)
        self.installing = False
        self._armed = list(armed)
        self._folder = folder
        self._patches = Patches()
        self._depth = 0
        self._aside = False
        self._stepped = 0

    def __enter__(self) -> Embedding:
        compilation.lift(self._patches)
        self.clock.attach(self._patches)
        self.installing = True
        try:
            for armed in self._armed:
                hooks.install(armed, self._patches, self.site)
        except BaseException:
            self._patches.close()
            raise
        finally:
            self.installing = False
        # Wrapped after the hooks, to run before them: the hooks need to know the module and the step.
        self._patches.wrap(self._foreign.base_of(self.target), "__init__", self._constructing)
        for name in self._foreign.steps:
            if self._foreign.overrides(self.target, name):
                self._patches.wrap(self.target, name, self._stepping(name))
        self._patches.wrap(self.target, "forward", self._calling)
        self._foreign.around_runs(self._patches, self._running)
        if self._folder:
            self._foreign.write_below(self._folder, self._patches)
        return self

    def __exit__(self, *_: Any) -> None:
        # Code that has replaced an attribute in the meantime may restore one of our wrappers: it must do nothing then.
        self._aside = True
        for armed in self._armed:
            armed.enabled = False
        self._patches.close()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the faults inside the context, for example while a fixture that is its own unit is set up."""
        aside, enabled = self._aside, [armed.enabled for armed in self._armed]
        self._aside = True
        for armed in self._armed:
            armed.enabled = False
        try:
            with self.clock.aside():
                yield
        finally:
            self._aside = aside
            for armed, before in zip(self._armed, enabled):
                armed.enabled = before

    def _meet(self, module: Any) -> None:
        if self._aside or type(module) is not self.target:
            return
        self.used = True
        self.site.module = module
        for armed in self._armed:
            armed.ctx.module = module

    def _constructing(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(module: Any, *args: Any, **kwargs: Any) -> None:
            construct(module, *args, **kwargs)
            self._meet(module)

        return constructing

    def _calling(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def calling(module: Any, *args: Any, **kwargs: Any) -> Any:
            self._meet(module)
            output = forward(module, *args, **kwargs)
            if not (self._depth or self._aside or self._stepped) and type(module) is self.target:
                self.fingerprint.append(f"forward {[told(leaf) for _, leaf in tree.leaves(output)]}")
            return output

        return calling

    def _stepping(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def stepping(module: Any, *args: Any, **kwargs: Any) -> Any:
                if self._depth or self._aside:
                    return step(module, *args, **kwargs)
                if type(module) is not self.target:
                    # A subclass that inherits the step is not the target.
                    with self.suspended():
                        return step(module, *args, **kwargs)
                self._meet(module)
                if name == "training_step":
                    self.clock.tick()
                self._stepped += 1
                try:
                    output = step(module, *args, **kwargs)
                finally:
                    self._stepped -= 1
                self.fingerprint.append(f"{name} {[told(leaf) for _, leaf in tree.leaves(output)]}")
                return output

            return stepping

        return make

    def _running(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def running(trainer: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            self._meet(model)
            if self._aside:
                return run(trainer, model, *args, **kwargs)
            if type(model) is not self.target:
                # Hooks in the framework and torch would break it too, and its steps are not the target's.
                with self.suspended():
                    return run(trainer, model, *args, **kwargs)
            if self._depth:
                return run(trainer, model, *args, **kwargs)
            purpose = self._foreign.purpose(trainer)
            if purpose == "fit":
                self.clock.restart()
            self._depth += 1
            trajectory = Trajectory()
            try:
                with self._foreign.recorded(trainer, model, self.clock, trajectory), Patches() as patches:
                    self._foreign.watch_loggers(trainer, trajectory, patches)
                    result = run(trainer, model, *args, **kwargs)
                if purpose == "predict":
                    self.fingerprint.append(f"predicted {[told(leaf) for _, leaf in tree.leaves(result)]}")
                return result
            except BaseException:
                trajectory.end = "raised"
                raise
            finally:
                self._depth -= 1
                trajectory.digest = digest(model)
                metrics = sorted((str(name), told(value)) for name, value in self._foreign.metrics(trainer).items())
                self.fingerprint.append(f"{purpose} {trajectory.parts()} {metrics}")

        return running


def told(value: Any) -> str:
    """Return a text that is the same for values that are equal bit for bit."""
    if isinstance(value, torch.Tensor):
        plain = value.layout is torch.strided and not value.is_nested
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8) if plain and value.numel() else None
        content = hashlib.sha256(raw.numpy().tobytes()).hexdigest() if raw is not None else ""
        return f"{value.dtype}{tuple(value.shape)}{value.requires_grad}{content}"
    return repr(value) if isinstance(value, (int, float, str, bool, type(None))) else type(value).__name__
