"""The process of a loop, and the random numbers that it draws, as a training step begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Process, RandomState
from faultlab.core import resource_limits
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.torch.states import random_state
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.loader_workers import strike_in_workers

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Process, framework=NAME)
def process(point: Process, patches: Patches, armed: Armed, site: Site) -> None:
    def strike() -> None:
        if armed.due("train"):
            armed.strike()

    if point.worker:
        strike_in_workers(patches, armed)
    else:
        # Whatever the injector leaves the process to do with is what it had once the fault is taken off.
        patches.on_exit(resource_limits.remember())
        listening(patches, armed.clock.trainer.before_forward, strike)


@hooks(RandomState, framework=NAME)
def before_step(point: RandomState, patches: Patches, armed: Armed, site: Site) -> None:
    def change() -> None:
        if armed.due("validate" if point.before == "validation" else "train"):
            armed.in_place(None, random_state)

    def constructing(construct: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*args: Any, **kwargs: Any) -> Any:
            if not armed.activations:
                change()
            return construct(*args, **kwargs)

        return changing

    if point.before == "step":
        listening(patches, armed.clock.trainer.before_forward, change)
    elif point.before == "validation":
        listening(patches, armed.clock.trainer.before_evaluation, change)
    else:
        patches.wrap(torch.nn.Module, "__init__", constructing)
