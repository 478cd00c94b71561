"""Plain PyTorch as a framework: loops that users write by hand; see `faultlab.frameworks.base.Framework`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.frameworks.base import Assembly, Framework
from faultlab.frameworks.foreign import Foreign
from faultlab.frameworks.loops import NAME, trainers
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.loop import Loop
from faultlab.frameworks.loops.target import BuiltLoop, LoopTarget, named
from faultlab.frameworks.loops.training import LoopTraining


class PlainTorch:
    """Training loops in PyTorch alone."""

    name = NAME
    joins = True
    # A loop of a test has no Trainer to be found by: see `faultlab.testing.loop_embedding`.
    foreign: Foreign = None  # type: ignore[assignment]

    def target(self, scenario: Mapping[str, Any]) -> LoopTarget:
        target = LoopTarget(scenario)
        if scenario.get("observed", True):
            # Once, in the process that all runs are copies of: what a run replaces is looked for here, too.
            clock, evaluate = LoopClock(), named(target.functions[1])
            with Patches() as patches:
                Loop(target.layout, Trajectory(), clock.tick, clock.take_back, evaluation=evaluate).attach(patches)
        return target

    def assemble(self, built: BuiltLoop, wanted: Assembly) -> LoopTraining:
        return LoopTraining(built, wanted)

    def clock(self) -> LoopClock:
        return LoopClock()

    def hooks_of(self, guard: Any) -> Collection[str]:
        # Not imported before: the first import of the guards decides which framework their callbacks belong to.
        from faultlab.guards.support.callback import HOOKS, Callback, overrides

        if not isinstance(guard, Callback):
            return trainers.hooks_of(guard)
        return [hook for hook in HOOKS if overrides(guard, hook) or hook in vars(guard)]

    def find_plugins_once(self) -> None:
        """Do nothing: torch looks for no plugins as it trains."""

    def warm_up(self) -> None:
        """Do nothing: the observed run is a copy's."""


FRAMEWORK: Framework = PlainTorch()
