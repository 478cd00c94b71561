"""The optimizers of a loop: as they were constructed, as they are stepped, and what they remember."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Optimizers, OptimizerState, OptimizerStep
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.torch import states
from faultlab.frameworks.torch.optimizers import optimizers_in, schedulers_in
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.frameworks.loops.loop import Loop
    from faultlab.injection.armed_fault import Armed


@hooks(OptimizerStep, framework=NAME)
def optimizer_step(point: OptimizerStep, patches: Patches, armed: Armed, site: Site) -> None:
    def around(optimizer: torch.optim.Optimizer, closure: Any, genuine: Callable[[Any], Any]) -> Any:
        if not armed.due("train"):
            return genuine(closure)
        armed.ctx.memory.update(closure=closure, optimizer=optimizer)
        return armed.around(lambda own=closure: genuine(own), lambda: states.held(optimizer))

    listening(patches, armed.clock.trainer.around_step, around)


@hooks(OptimizerState, framework=NAME)
def optimizer_state(point: OptimizerState, patches: Patches, armed: Armed, site: Site) -> None:
    def change() -> None:
        if armed.due("train"):
            armed.in_place(armed.clock.trainer.optimizers, states.memories)

    listening(patches, armed.clock.trainer.before_forward, change)


@hooks(Optimizers, framework=NAME)
def optimizers(point: Optimizers, patches: Patches, armed: Armed, site: Site) -> None:
    """Attach to where the loop begins its first step, with its optimizers and schedulers in a pair of lists.

    The loop keeps its own objects, so what an injector puts in their place moves into them.
    """
    loop = armed.clock.trainer

    def change() -> None:
        if not armed.due("train"):
            return
        module = site.present(armed.clock)
        armed.ctx.module = module
        optimizers, schedulers = list(loop.optimizers), list(loop.schedulers)
        intervals = itertools.chain(armed.profile.scheduler_intervals, itertools.repeat("epoch"))
        own = (list(optimizers), [{"scheduler": one, "interval": how} for one, how in zip(schedulers, intervals)])
        new = armed.map(own, lambda result: [states.configuration(result), states.identities(module)])
        fresh = optimizers_in(new)
        _move(fresh, optimizers)
        for scheduler in schedulers:
            # It may have been handed over to what has just become the loop's own.
            scheduler.optimizer = dict(zip(map(id, fresh), optimizers)).get(
                id(scheduler.optimizer), scheduler.optimizer
            )
        _move(schedulers_in([one["scheduler"] for one in new[1]] if _paired(new) else []), schedulers)
        if _paired(new):
            pairs = zip(schedulers, own[1], new[1])
            _hurry(patches, loop, [one for one, was, now in pairs if was["interval"] != now["interval"] == "step"])
        # Without those that the injector has constructed, which nothing in the loop knows.
        loop.optimizers[:], loop.schedulers[:] = optimizers, schedulers

    listening(patches, loop.when_configured, change)


def _paired(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], list)


def _hurry(patches: Patches, loop: Loop, schedulers: list[Any]) -> None:
    """Have these schedulers stepped after each update, and not where the loop itself steps them."""

    def stepping(step: Callable[..., Any]) -> Callable[..., Any]:
        def by_updates_alone(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            own = scheduler in schedulers and not loop.hurrying
            return None if own else step(scheduler, *args, **kwargs)

        return by_updates_alone

    for scheduler in schedulers:
        listening(patches, loop.hurried, scheduler)
    for cls in {type(one) for one in schedulers}:
        patches.wrap(cls, "step", stepping)


def _move(new: Sequence[Any], own: Sequence[Any]) -> None:
    """Make the loop's own objects what the injector has put in their place."""
    for old, fresh in zip(own, new):
        if fresh is not old:
            scheduled = "step" in vars(old)
            old.__class__ = type(fresh)
            vars(old).clear()
            vars(old).update({name: value for name, value in vars(fresh).items() if name != "step"})
            if scheduled:
                vars(old)["step"] = _as_scheduled(old)


def _as_scheduled(optimizer: Any) -> Callable[..., Any]:
    """Return the step of an optimizer's class as a scheduler that is constructed puts it on the optimizer."""

    def step(*args: Any, **kwargs: Any) -> Any:
        optimizer._opt_called = True
        return type(optimizer).step(optimizer, *args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    return step
