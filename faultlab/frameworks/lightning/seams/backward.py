"""From the loss to the update, where Lightning's or the module's own hooks intervene."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Clipping, Loss, OptimizerStep
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.frameworks.torch import states
from faultlab.frameworks.torch.optimizers import held_optimizers
from faultlab.frameworks.torch.seams import backward, clipping
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed
    from faultlab.injection.clock import Clock

CLIPPING = "configure_gradient_clipping"


@hooks(Loss, framework=NAME)
def loss(point: Loss, patches: Patches, armed: Armed, site: Site) -> None:
    if armed.profile.automatic:
        patches.wrap(site.owner("training_step"), "training_step", _in_output(armed))
    elif "manual_backward" in armed.profile.hooks:
        position = site.first_argument("manual_backward")
        patches.wrap(site.owner("manual_backward"), "manual_backward", backward.in_argument(armed, position))
    else:
        backward.loss(point, patches, armed, site)


def _in_output(armed: Armed) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(*args: Any, **kwargs: Any) -> Any:
            output = step(*args, **kwargs)
            if not armed.due("train"):
                return output
            if isinstance(output, torch.Tensor):
                return armed.map(output)
            if isinstance(output, Mapping) and isinstance(output.get("loss"), torch.Tensor):
                return {**output, "loss": armed.map(output["loss"])}
            return output

        return mapped

    return make


@hooks(Clipping, framework=NAME)
def gradient_clipping(point: Clipping, patches: Patches, armed: Armed, site: Site) -> None:
    def hook(configure: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            if not armed.due("train"):
                return configure(*args, **kwargs)
            armed.ctx.memory["unclipped"] = lambda: None
            return armed.around(lambda: configure(*args, **kwargs))

        return around

    # Lightning also calls the hook if there is nothing to clip.
    if armed.profile.clip_value or armed.profile.clips_itself:
        patches.wrap(site.owner(CLIPPING), CLIPPING, hook)
    clipping.by_hand(point, patches, armed, site)


@hooks(OptimizerStep, framework=NAME)
def optimizer_step(point: OptimizerStep, patches: Patches, armed: Armed, site: Site) -> None:
    """Attach to Lightning's wrapper.

    A patched ``step`` of the optimizer itself causes torch's warning about the order of scheduler and optimizer. If the
    module steps torch's own optimizers, bypassing the wrapper, those that it or the Trainer holds are patched one by
    one, from the beginning of each training step to its end.
    """

    def around(optimizer: Any, closure: Any, step: Callable[..., Any]) -> Any:
        if not armed.due("train"):
            return step(closure)
        armed.ctx.memory.update(closure=closure, optimizer=optimizer)
        return armed.around(lambda own=closure: step(own), lambda: states.held(optimizer))

    def wrapped(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(optimizer: Any, closure: Any = None, **kwargs: Any) -> Any:
            return around(optimizer, closure, lambda own: step(optimizer, own, **kwargs))

        return stepping

    def bare(optimizer: torch.optim.Optimizer, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(closure: Any = None, **kwargs: Any) -> Any:
            return around(optimizer, closure, lambda own: step(own, **kwargs) if own else step(**kwargs))

        return stepping

    if armed.profile.past_trainer:
        wrap_held_optimizers(patches, armed.clock, site, bare)
        return
    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.OPTIMIZER), "step", wrapped)


def wrap_held_optimizers(
    patches: Patches, clock: Clock, site: Site, make: Callable[[torch.optim.Optimizer, Callable[..., Any]], Any]
) -> None:
    """Replace ``step`` of each optimizer that the module or the Trainer holds, while a training step runs."""

    def stepping(training_step: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            with Patches() as inner:
                for optimizer in held_optimizers(site.present(clock), clock.trainer):
                    inner.wrap(optimizer, "step", functools.partial(make, optimizer))
                return training_step(*args, **kwargs)

        return step

    patches.wrap(site.owner("training_step"), "training_step", stepping)
