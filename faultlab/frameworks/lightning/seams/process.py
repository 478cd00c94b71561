"""The process itself and its random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Process, RandomState
from faultlab.catalogue.injection_points.point import IN_STEPS
from faultlab.core import resource_limits
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.frameworks.torch import states
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.loader_workers import strike_in_workers

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Process, framework=NAME)
def process(point: Process, patches: Patches, armed: Armed, site: Site) -> None:
    if point.worker:
        strike_in_workers(patches, armed)
    else:
        # Restored when the fault is removed, whatever limits the injector leaves the process with.
        patches.on_exit(resource_limits.remember())
        # Through Lightning instead of the class: a resumed training may have a module of another class.
        for namespace in namespaces.loaded():
            calls = private_api.part(namespace, private_api.CALLS)
            patches.wrap(calls, private_api.CALL_STRATEGY, lambda call: _in_step(armed, call))


def _in_step(armed: Armed, call: Callable[..., Any]) -> Callable[..., Any]:
    def calling(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
        if hook == "training_step" and armed.due("train"):
            armed.strike()
        return call(trainer, hook, *args, **kwargs)

    return calling


@hooks(RandomState, framework=NAME)
def random_state(point: RandomState, patches: Patches, armed: Armed, site: Site) -> None:
    stage = "validate" if point.before == "validation" else "train"

    def make(call: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*args: Any, **kwargs: Any) -> Any:
            again = point.before == "construction" and armed.activations
            if not again and armed.due(stage):
                armed.in_place(None, states.random_state)
            return call(*args, **kwargs)

        return changing

    if point.before in ("step", "validation"):
        step = IN_STEPS[stage]
        patches.wrap(site.owner(step), step, make)
    else:
        patches.wrap(torch.nn.Module, "__init__", make)
