"""The training step of a loop, where the scenario names a function for it, and the steps of its schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler

from faultlab.catalogue.injection_points import StepCall, StepOutput
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

STEP = "training_step"
VALIDATION = "validation_step"
SCHEDULER = "lr_scheduler_step"


@hooks(StepOutput, framework=NAME)
def step_output(point: StepOutput, patches: Patches, armed: Armed, site: Site) -> None:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(*args: Any, **kwargs: Any) -> Any:
            output = step(*args, **kwargs)
            return armed.map(output) if armed.due("train") else output

        return mapped

    armed.clock.trainer.wrap_own_step(patches, make)


@hooks(StepCall, framework=NAME)
def step_call(point: StepCall, patches: Patches, armed: Armed, site: Site) -> None:
    def stepping(step: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            # A scheduler steps once while it is constructed.
            if not armed.clock.trainer.steps_begun or not armed.due("train"):
                return step(*args, **kwargs)
            armed.ctx.memory["scheduler"] = args[0]
            return armed.around(lambda: step(*args, **kwargs))

        return around

    if point.hook == STEP:
        armed.clock.trainer.wrap_own_step(patches, armed.surrounding("train"))
    elif point.hook == VALIDATION:
        around_validation = armed.clock.trainer.around_validation
        listening(patches, around_validation, lambda call: armed.around(call) if armed.due("validate") else call())
    elif point.hook == SCHEDULER:
        for cls in {type(one) for one in armed.clock.trainer.schedulers} or schedulers():
            patches.wrap(cls, "step", stepping)


def schedulers() -> set[type]:
    """Return the classes of schedulers that define a step of their own."""

    def below(cls: type) -> set[type]:
        found: set[type] = {cls} if "step" in vars(cls) else set()
        one: type
        for one in cls.__subclasses__():
            found |= below(one)
        return found

    return below(LRScheduler)
