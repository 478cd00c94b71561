"""A training loop as the session of a run drives it; see `faultlab.frameworks.base.Training`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

import torch

from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.errors import TargetError
from faultlab.frameworks.base import Assembly, BuildAgain
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.probe import LoopProbe
from faultlab.frameworks.loops.target import BuiltLoop
from faultlab.frameworks.profiling import Profiling
from faultlab.sandbox.overlay import Overlay


class LoopTraining:
    """One call of the function that trains. Its module is known once the function has made it."""

    def __init__(self, built: BuiltLoop, wanted: Assembly) -> None:
        assert isinstance(wanted.clock, LoopClock)
        self._built = built
        self._trajectory, self._clock = wanted.trajectory, wanted.clock
        guards = [*built.guards.values()]
        advising = Advising(wanted.beside or {}, bool(built.layout.training), guards)
        clock = wanted.clock
        self._loop = Loop(built.layout, wanted.trajectory, clock.tick, clock.take_back, built.step, advising)
        self._other: Any = None
        wanted.clock.follow(self._loop)

    @property
    def module(self) -> Any:
        return self._loop.module if self._other is None else self._other

    @module.setter
    def module(self, fresh: Any) -> None:
        self._other = fresh

    @property
    def guards(self) -> Mapping[str, Any]:
        return self._built.guards

    def run(self) -> None:
        try:
            result = self._built.train()
        except BaseException as error:
            self._loop.advising.end(error)
            raise
        self._loop.advising.end(None)
        if self._loop.module is None:
            remedy = "It must make the same modules in the same order every time."
            raise TargetError(("train",), f"it made no {self._built.layout.root} this time", remedy)
        for name, number in numbers_in(result).items():
            self._trajectory.metrics[name] = [(self._clock.step, number)]

    def step(self) -> tuple[Any, str] | None:
        return self._built.step

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        """Do nothing: whatever the loop writes goes through Python's own calls."""

    def named_folders(self) -> Iterable[str]:
        return ()

    def relocate(self, old_root: str, new_root: str) -> None:
        """Do nothing: no part of the loop was given a folder."""

    def watch_loggers(self, patches: Patches) -> None:
        """Do nothing: a loop has no loggers that it declares."""

    def profiling(self) -> LoopProbe:
        return LoopProbe(self._loop, self._clock)

    def profile(self, learnt: Profiling) -> TargetProfile:
        return learnt.profile(self._loop, self._trajectory.steps, self._trajectory.validation_batches)

    def resume(self, epochs: int, build_again: BuildAgain) -> LoopTraining:
        raise NotImplementedError("a training loop is not resumed from its checkpoints")

    def evaluate_best(self, build_again: BuildAgain) -> None:
        raise NotImplementedError("a training loop is not resumed from its checkpoints")

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        return {}

    def evaluate(self, validates: bool, settings: Mapping[str, Any]) -> dict[str, float]:
        if self._built.evaluate is None or self.module is None:
            return {}
        modes = [(part, part.training) for part in self.module.modules()]
        with torch.enable_grad():
            found = self._built.evaluate(self.module)
        for part, training in modes:
            part.training = training
        return numbers_in(found)

    def parts(self) -> Iterator[Any]:
        yield self.module
        yield from (_part(one) for one in (self._built.train, self._built.evaluate) if one is not None)

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}


def numbers_in(found: Any) -> dict[str, float]:
    """Return the numbers in what a function returned: one by itself, in a mapping, or the mappings of a tuple."""
    if isinstance(found, tuple):
        together: dict[str, float] = {}
        for one in found:
            together.update(numbers_in(one) if isinstance(one, Mapping) else {})
        return together or next((numbers_in(one) for one in found if _number(one) is not None), {})
    if isinstance(found, Mapping):
        return {str(name): number for name, value in found.items() if (number := _number(value)) is not None}
    number = _number(found)
    return {} if number is None else {"metric": number}


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value.detach())
    return float(value) if isinstance(value, Number) and not isinstance(value, complex) else None  # type: ignore[arg-type]


def _part(function: Any) -> Any:
    """Return an object whose class is from the module of a function: the files of classes are those of the target."""
    while isinstance(function, functools.partial):
        function = function.func
    return type(getattr(function, "__name__", "train"), (), {"__module__": function.__module__})()
