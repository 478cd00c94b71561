"""The model of a loop: its layers before it trains, its weights and its mode as a step finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points import Architecture, Mode, Weights
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.torch import states
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Architecture, framework=NAME)
def architecture(point: Architecture, patches: Patches, armed: Armed, site: Site) -> None:
    """Attach to where the loop has constructed its module, at the latest as it constructs an optimizer for it."""

    def change() -> None:
        module = site.present(armed.clock)
        armed.ctx.module = module
        if armed.due("train"):
            parts = dict(module.named_modules(remove_duplicate=False))
            armed.in_place(module, states.structure)
            originals = armed.clock.trainer.roots.replace()
            armed.replaced.update({**states.replaced(parts, module), **originals})

    listening(patches, armed.clock.trainer.when_constructed, change)


@hooks(Weights, framework=NAME)
def weights(point: Weights, patches: Patches, armed: Armed, site: Site) -> None:
    def change() -> None:
        if armed.due("train"):
            armed.in_place(site.present(armed.clock), states.values)

    listening(patches, armed.clock.trainer.before_forward, change)


@hooks(Mode, framework=NAME)
def mode(point: Mode, patches: Patches, armed: Armed, site: Site) -> None:
    def change() -> None:
        if armed.due():
            armed.in_place(site.present(armed.clock), states.mode)

    listening(patches, armed.clock.trainer.before_forward, change)
    listening(patches, armed.clock.trainer.before_evaluation, change)
