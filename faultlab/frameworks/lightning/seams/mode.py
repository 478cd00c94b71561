"""Train or eval, gradients on or off, at the moment a step begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.seams.steps import STEP_METHODS
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@dataclass(frozen=True)
class Mode(Seam):
    """The mode of the module and its submodules as a step finds it. The injector changes the module's mode in place.

    Lightning restores modes after validation by setting ``training`` directly, so nothing that wraps ``train()`` would
    see it; the entry of the step is where a wrong mode begins to matter.
    """

    leaves = frozenset({"batches"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def setting(stage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
            def make(step: Callable[..., Any]) -> Callable[..., Any]:
                def mapped(*args: Any, **kwargs: Any) -> Any:
                    module = site.present(armed.clock.trainer)
                    if armed.due(stage):
                        armed.in_place(module, _mode)
                    return step(*args, **kwargs)

                return mapped

            return make

        for name, stage in STEP_METHODS.items():
            if namespaces.overrides(site.cls, name):
                patches.wrap(site.owner(name), name, setting(stage))


def _mode(module: torch.nn.Module) -> list[bool]:
    return [torch.is_grad_enabled(), _autocasts(module), *(part.training for part in module.modules())]


def _autocasts(module: torch.nn.Module) -> bool:
    device = getattr(module, "device", torch.device("cpu"))
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
