"""The module's own methods: a step's output, a hook's call, and whether the class defines it at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import Definition, StepCall, StepOutput
from faultlab.catalogue.injection_points.point import IN_STEPS
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

SCHEDULER = "lr_scheduler_step"
STEP_METHODS = {method: stage for stage, method in IN_STEPS.items()}


@hooks(StepOutput, framework=NAME)
def step_output(point: StepOutput, patches: Patches, armed: Armed, site: Site) -> None:
    def mapping(stage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                output = step(*args, **kwargs)
                return armed.map(output) if armed.due(stage) else output

            return mapped

        return make

    for name, stage in STEP_METHODS.items():
        if namespaces.overrides(site.cls, name):
            patches.wrap(site.owner(name), name, mapping(stage))


@hooks(StepCall, framework=NAME)
def step_call(point: StepCall, patches: Patches, armed: Armed, site: Site) -> None:
    around = armed.surrounding(STEP_METHODS.get(point.hook))
    if point.hook != SCHEDULER:
        patches.wrap(site.owner(point.hook), point.hook, around)
        return
    position = site.first_argument(point.hook)

    def make(step: Callable[..., Any]) -> Callable[..., Any]:
        faulty = around(step)

        def stepping(*args: Any, **kwargs: Any) -> Any:
            armed.ctx.memory["scheduler"] = kwargs["scheduler"] if "scheduler" in kwargs else args[position]
            return faulty(*args, **kwargs)

        return stepping

    patches.wrap(site.owner(point.hook), point.hook, make)


@hooks(Definition, framework=NAME)
def definition(point: Definition, patches: Patches, armed: Armed, site: Site) -> None:
    own = getattr(site.cls, point.hook) if namespaces.overrides(site.cls, point.hook) else None
    if not armed.due(STEP_METHODS.get(point.hook, "train")):
        return
    new = armed.map(own)
    if new is own:
        return
    fallback = getattr(namespaces.base_module(site.cls), point.hook, None)
    if new is None and fallback is None:
        return
    patches.set(site.owner(point.hook), point.hook, fallback if new is None else new)
