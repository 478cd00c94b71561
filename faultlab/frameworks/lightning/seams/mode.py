"""Train or eval mode, and gradients on or off, when a step begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import Mode
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces
from faultlab.frameworks.lightning.seams.steps import STEP_METHODS
from faultlab.frameworks.torch import states
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Mode, framework=NAME)
def mode(point: Mode, patches: Patches, armed: Armed, site: Site) -> None:
    """Attach to the steps.

    Lightning restores modes after validation by setting ``training`` directly, so a wrapper of ``train()`` would miss
    it; a wrong mode begins to matter when the step is entered.
    """

    def setting(stage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                module = site.present(armed.clock)
                if armed.due(stage):
                    armed.in_place(module, states.mode)
                return step(*args, **kwargs)

            return mapped

        return make

    for name, stage in STEP_METHODS.items():
        if namespaces.overrides(site.cls, name):
            patches.wrap(site.owner(name), name, setting(stage))
