"""Injection points in a process where tests train modules by loops of their own, or by Trainers on top of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.probe import LoopProbe
from faultlab.frameworks.loops.sequence import followed
from faultlab.frameworks.registry import default_framework
from faultlab.frameworks.torch.weights import digest
from faultlab.injection import compilation, hooks, tree
from faultlab.injection.armed_fault import Armed
from faultlab.injection.hooks import Site
from faultlab.testing.embedding import told


class LoopEmbedding:
    """A context that makes the faults act on the trainings of a target, one after the other.

    ``trainings`` are those of the unit in their order, as a clean run showed them, and whether each is the target's.
    ``fingerprint`` records their results: runs that differ have different fingerprints. See also
    `faultlab.testing.embedding.Embedding`.
    """

    def __init__(self, trainings: Sequence[tuple[Layout, bool]], armed: Iterable[Armed], clock: LoopClock) -> None:
        self.clock = clock
        self.installing = False
        self._targets = [target for _, target in trainings]
        of = next(layout for layout, target in trainings if target)
        self._loop = followed([layout for layout, _ in trainings], clock, of)
        self._loop.entered = self._entered
        self._loop.returned = self._returned
        self._armed = list(armed)
        self._outputs: list[str] = []
        self._patches = Patches()
        self._profiling: _Profiling | None = None

    @property
    def used(self) -> bool:
        """True if a module of the target was made or called."""
        return any(module is not None for number, (_, module) in self._courses() if self._targets[number])

    @property
    def fingerprint(self) -> list[str]:
        """What the trainings of the target came to, and what their modules returned."""
        ends = [
            f"{trajectory.parts()} {digest(module) if module is not None else ''}"
            for number, (trajectory, module) in self._courses()
            if self._targets[number]
        ]
        return [*ends, *self._outputs]

    def _courses(self) -> Iterator[tuple[int, Any]]:
        return enumerate(list(self._loop.trajectories()))

    def observe(self, observe: Callable[[Any, str], Any]) -> None:
        """Call a function with each guard that a training makes itself, and its name."""
        self._loop.observe = observe

    def profile(self, number: int) -> Callable[[], tuple[TargetProfile | None, int]]:
        """Take the target profile of one of the trainings; call it before entering.

        Returns:
            A function that returns the profile, None if the training was not followed to its end, and its steps.
        """
        self._profiling = _Profiling(self._loop, self.clock, number)
        self._loop.leaving = self._profiling.leave
        return self._profiling.result

    def __enter__(self) -> LoopEmbedding:
        compilation.lift(self._patches)
        self.clock.attach(self._patches)
        self.installing = True
        try:
            for armed in self._armed:
                armed.ctx.find_module = lambda: self._loop.module
                hooks.install(armed, self._patches, Site(type(None)))
        except BaseException:
            self._patches.close()
            raise
        finally:
            self.installing = False
        # A Trainer of Lightning's trains something else.
        trainers = default_framework().foreign
        if trainers.imported():
            trainers.around_runs(self._patches, self._apart)
        self._entered(self._loop.current)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._profiling is not None:
            self._profiling.leave(ends=True)
        # Code that has replaced an attribute in the meantime may restore one of our wrappers: it must do nothing then.
        self._loop.resting = True
        for armed in self._armed:
            armed.enabled = False
        self._patches.close()

    def _entered(self, number: int | None) -> None:
        for armed in self._armed:
            armed.enabled = number is not None and self._targets[number]
        if self._profiling is not None and number is not None:
            self._profiling.enter(number)

    def _returned(self, output: Any) -> None:
        if self._targets[self._loop.current]:
            self._outputs.append(f"forward {[told(leaf) for _, leaf in tree.leaves(output)]}")

    def _apart(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def running(*args: Any, **kwargs: Any) -> Any:
            with self.suspended():
                return run(*args, **kwargs)

        return running

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the faults inside the context, for example while a fixture that is its own unit is set up."""
        resting, enabled = self._loop.resting, [armed.enabled for armed in self._armed]
        self._loop.resting = True
        for armed in self._armed:
            armed.enabled = False
        try:
            with self.clock.aside():
                yield
        finally:
            self._loop.resting = resting
            for armed, before in zip(self._armed, enabled):
                armed.enabled = before


class _Profiling:
    """Takes the profile of one training among several, from when it is entered until it is left."""

    def __init__(self, loop: Any, clock: LoopClock, number: int) -> None:
        self._loop, self._clock, self._number = loop, clock, number
        self._probe: LoopProbe | None = None
        self._watching: Any = None
        self._profile: TargetProfile | None = None
        self._steps = 0

    def enter(self, number: int) -> None:
        if number == self._number and self._probe is None:
            self._probe = LoopProbe(self._loop, self._clock)
            self._watching = self._probe.watching()
            self._watching.__enter__()

    def leave(self, ends: bool = False) -> None:
        there = self._loop.current == self._number
        if self._watching is None or not (there or ends):
            return
        watching, self._watching = self._watching, None
        watching.__exit__(None, None, None)
        if there and self._loop.module is not None and self._probe is not None:
            trajectory = self._loop.trajectory
            self._steps = trajectory.steps
            self._profile = self._probe.profile(self._loop, trajectory.steps, trajectory.validation_batches)

    def result(self) -> tuple[TargetProfile | None, int]:
        return self._profile, self._steps
