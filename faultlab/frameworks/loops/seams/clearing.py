"""The clearing of gradients, by the optimizer or by the module: loops do either."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from faultlab.catalogue.injection_points import ZeroGrad
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.own_step import Make
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.frameworks.loops.loop import Loop
    from faultlab.injection.armed_fault import Armed


@hooks(ZeroGrad, framework=NAME)
def zero_grad(point: ZeroGrad, patches: Patches, armed: Armed, site: Site) -> None:
    wrap(patches, armed.clock.trainer, armed.surrounding("train"))


def wrap(patches: Patches, loop: Loop, make: Make) -> None:
    """Replace ``zero_grad`` of optimizers, and of the loop's module once it trains."""

    def of_module(clear: Callable[..., Any]) -> Callable[..., Any]:
        def clearing(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            training = loop.steps_begun and any(part is loop.module for part in module.modules())
            return (make(clear) if training else clear)(module, *args, **kwargs)

        return clearing

    patches.wrap(torch.optim.Optimizer, "zero_grad", make)
    patches.wrap(nn.Module, "zero_grad", of_module)
