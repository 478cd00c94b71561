"""The loss of a loop, as what computes it returns it, so that the loop's own checks of it see the fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as modules

from faultlab.catalogue.injection_points import Loss
from faultlab.core.class_paths import path_of
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME, criteria
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.torch.seams import backward
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Loss, framework=NAME)
def loss(point: Loss, patches: Patches, armed: Armed, site: Site) -> None:
    """Attach to the criterion; to backward where the loss is computed by hand, out of several parts."""
    kind, _, name = armed.profile.criterion.partition(" ")
    if kind == "module":
        _of_module(name, patches, armed)
    elif kind == "method":
        armed.clock.trainer.wrap_loss(patches, lambda compute: _of_method(compute, armed))
    elif kind == "function" and name in criteria.FUNCTIONS:
        listening(
            patches, armed.clock.trainer.loss_maps, lambda own, value: _mapped(value, armed) if own == name else value
        )
    else:
        backward.loss(point, patches, armed, site)


def _mapped(output: Any, armed: Armed) -> Any:
    learns = isinstance(output, torch.Tensor) and output.numel() == 1 and output.requires_grad
    # An evaluation may keep gradients, too.
    return armed.map(output) if learns and armed.clock.stage == "train" and armed.due("train") else output


def _of_method(compute: Callable[..., Any], armed: Armed) -> Callable[..., Any]:
    def computing(*args: Any, **kwargs: Any) -> Any:
        output = compute(*args, **kwargs)
        if isinstance(output, tuple) and output:
            return (_mapped(output[0], armed), *output[1:])
        return _mapped(output, armed)

    return computing


def _of_module(path: str, patches: Patches, armed: Armed) -> None:
    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return _mapped(output, armed) if path_of(type(module)) == path else None

    patches.on_exit(modules.register_module_forward_hook(after).remove)
