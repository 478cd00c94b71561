"""A training loop as the session of a run drives it; see `faultlab.frameworks.base.Training`."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

import torch
from torch import nn

from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.errors import TargetError
from faultlab.frameworks.base import Assembly, BuildAgain, using_checkpoint
from faultlab.frameworks.loops import roots, trainers
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.interruption import Interruption
from faultlab.frameworks.loops.probe import LoopProbe
from faultlab.frameworks.loops.roots import Together
from faultlab.frameworks.loops.target import BuiltLoop, named
from faultlab.frameworks.profiling import Profiling
from faultlab.ranks.joining import RankEnds
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
        self._loop = trainers.loop_of(built.layout)(
            built.layout,
            wanted.trajectory,
            clock.tick,
            clock.take_back,
            built.step,
            named(built.evaluate),
            built.metrics,
            advising,
        )
        self._loop.observe = wanted.observe
        self._other: Any = None
        self._fresh: Any = None
        if wanted.checkpoints is not None:
            self._loop.when_constructed.append(self._keep_fresh)
        if built.resume is not None:
            self._loop.interruption = wanted.interruption
        wanted.clock.follow(self._loop)

    @property
    def module(self) -> Any:
        return self._loop.module if self._other is None else self._other

    @module.setter
    def module(self, fresh: Any) -> None:
        self._other = fresh

    @property
    def guards(self) -> Mapping[str, Any]:
        return {**self._built.guards, **self._loop.guards}

    def run(self) -> None:
        self._call(self._built.train)

    def _call(self, train: Callable[[], Any]) -> None:
        try:
            result = train()
        except (Interruption, RankEnds):
            result = None
        except BaseException as error:
            self._loop.advising.end(error)
            raise
        self._loop.end()
        self._loop.advising.end(None)
        # With a mutant in it, it may train nothing, which no process notices.
        if self._loop.module is None and not self._built.mutated:
            remedy = "It must make the same modules in the same order every time."
            raise TargetError(("train",), f"it made no {self._built.layout.root} this time", remedy)
        self._loop.reports.returned(self._loop.metrics(numbers_in(result)))

    def _keep_fresh(self) -> None:
        # A module that can't be copied is loaded into as it is trained.
        with contextlib.suppress(Exception):
            self._fresh = copy.deepcopy(self._main)

    @property
    def _main(self) -> nn.Module:
        """The module with the most parameters."""
        return self._loop.roots.found[0]

    def step(self) -> tuple[Any, str] | None:
        return self._built.step

    def confine(self, patches: Patches, overlay: Overlay, root: Callable[[], str], saved_at: set[int]) -> None:
        # Whatever the loop writes goes through Python's own calls.
        self._loop.checkpoints.saved_at = saved_at

    def named_folders(self) -> Iterable[str]:
        return ()

    def relocate(self, old_root: str, new_root: str) -> None:
        """Do nothing: no part of the loop was given a folder."""

    def watch_loggers(self, patches: Patches) -> None:
        """Do nothing: the loop's reports count them."""

    def profiling(self) -> LoopProbe:
        return LoopProbe(self._loop, self._clock, self._built.resume is not None)

    def profile(self, learnt: Profiling) -> TargetProfile:
        return learnt.profile(self._loop, self._trajectory.steps, self._trajectory.validation_batches)

    def resume(self, epochs: int, build_again: BuildAgain) -> LoopTraining:
        """Continue as the scenario names; else load the best or last checkpoint, as one does that uses the model."""
        if self._built.resume is not None:
            self._continue(self._built.resume)
        elif file := self._loop.checkpoints.best():
            with using_checkpoint():
                self._other = self._with_others(self._loaded(file))
        return self

    def _continue(self, resume: Callable[[], Any]) -> None:
        asked: list[bool] = []
        around = self._loop.around_resume[-1] if self._loop.around_resume else lambda call: call()
        around(lambda: asked.append(True))
        if not asked:
            self._forget_checkpoints()
        self._loop.restart()
        self._call(resume if asked else self._built.train)

    def _forget_checkpoints(self) -> None:
        """Remove them, so that a loop that looks for them itself begins from scratch, too."""
        for file in self._loop.checkpoints.files:
            with contextlib.suppress(OSError):
                os.remove(file)

    def evaluate_best(self, build_again: BuildAgain) -> None:
        file = self._loop.checkpoints.best()
        if self._built.resume is None or not file:
            return
        with using_checkpoint():
            if self._built.evaluate is not None:
                self._trajectory.reloaded = self._evaluated([self._loaded(file), *self._loop.roots.found[1:]])
            elif self._loop.evaluates:
                self._trajectory.reloaded = self._loop.evaluated(self._loaded(file))

    def _with_others(self, main: nn.Module) -> nn.Module:
        others = self._loop.roots.found[1:]
        return Together([main, *others]) if others else main

    def _loaded(self, file: str) -> nn.Module:
        module = self._main if self._fresh is None else copy.deepcopy(self._fresh)
        self._loop.checkpoints.load_into(module, file)
        return module

    def evaluation_settings(self, precision: str | None) -> Mapping[str, Any]:
        return {}

    def evaluate(self, validates: bool, settings: Mapping[str, Any]) -> dict[str, float]:
        if self.module is None:
            return {}
        if self._built.evaluate is None:
            return self._loop.evaluated(self.module)
        several = isinstance(self.module, Together)
        return self._evaluated(list(self.module.children()) if several else [self.module])

    def _evaluated(self, modules: list[nn.Module]) -> dict[str, float]:
        """Return what the user's function reports on the modules that it takes."""
        evaluate = self._built.evaluate
        assert evaluate is not None
        modes = [(part, part.training) for module in modules for part in module.modules()]
        with torch.enable_grad():
            found = evaluate(*roots.arguments(_required(evaluate), modules))
        for part, training in modes:
            part.training = training
        return self._loop.metrics(numbers_in(found))

    def parts(self) -> Iterator[Any]:
        several = isinstance(self.module, Together)
        yield from self.module.children() if several else [self.module]
        yield from (_part(one) for one in (self._built.train, self._built.evaluate) if one is not None)

    def versions(self) -> dict[str, str]:
        names = ("torch", *self._loop.packages)
        return {name: str(sys.modules[name].__version__) for name in names if name in sys.modules}


def _required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function that have to be given; its first if that is unknown."""
    try:
        known = list(inspect.signature(function).parameters.values())
    except ValueError:  # some functions in C have no signature
        known = []
    required = [
        one
        for one in known
        if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return required or [inspect.Parameter("module", inspect.Parameter.POSITIONAL_ONLY)]


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
