"""The model itself and what is configured on it: architecture, weights, optimizers and schedulers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from faultlab.seams.base import Seam, Site
from faultlab.seams.patching import Patches

if TYPE_CHECKING:
    from faultlab.seams.armed import Armed


@dataclass(frozen=True)
class Architecture(Seam):
    """The module after construction and before fit. The injector changes the module's layers in place.

    The change is to this one module and stays with it; the next run builds another.
    """

    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        if armed.due("train"):
            armed.in_place(site.module, _structure)


@dataclass(frozen=True)
class Weights(Seam):
    """The parameters and buffers as a training step finds them. The injector changes them in place.

    Values, `requires_grad` and which tensors there are all count.
    """

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def around(*args: Any, **kwargs: Any) -> Any:
                if armed.due("train"):
                    module = site.module if armed.clock.trainer is None else armed.clock.trainer.lightning_module
                    armed.in_place(module, _values)
                return step(*args, **kwargs)

            return around

        patches.wrap(site.owner("training_step"), "training_step", make)


@dataclass(frozen=True)
class Optimizers(Seam):
    """What ``configure_optimizers`` returns. The injector maps result -> result, or changes what is in it in place.

    The result has any of the forms that Lightning takes; ``optimizers_in`` and ``schedulers_in`` find the parts.
    """

    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(configure: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                result = configure(*args, **kwargs)
                return armed.map(result, _configuration) if armed.due("train") else result

            return mapped

        patches.wrap(site.owner("configure_optimizers"), "configure_optimizers", make)


def optimizers_in(result: Any) -> list[torch.optim.Optimizer]:
    """Every optimizer in what ``configure_optimizers`` returned, in order."""
    return [part for part in _parts(result) if isinstance(part, torch.optim.Optimizer)]


def schedulers_in(result: Any) -> list[Any]:
    """Every scheduler in what ``configure_optimizers`` returned, in order."""
    return [part for part in _parts(result) if hasattr(part, "step") and not isinstance(part, torch.optim.Optimizer)]


def _parts(result: Any) -> Iterator[Any]:
    if isinstance(result, Mapping):
        for value in result.values():
            yield from _parts(value)
    elif isinstance(result, (list, tuple)):
        for value in result:
            yield from _parts(value)
    elif result is not None:
        yield result


def _configuration(result: Any) -> list[Any]:
    found: list[Any] = []
    for optimizer in optimizers_in(result):
        for group in optimizer.param_groups:
            settings = sorted((key, repr(value)) for key, value in group.items() if key != "params")
            found.append([type(optimizer).__name__, [id(parameter) for parameter in group["params"]], settings])
    return [found, [repr(sorted(map(repr, vars(scheduler).items()))) for scheduler in schedulers_in(result)]]


def _structure(module: nn.Module) -> list[Any]:
    layers = [(name, id(part), type(part).__name__, part.extra_repr()) for name, part in module.named_modules()]
    return [layers, _values(module)]


def _values(module: nn.Module) -> list[Any]:
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, tensor.requires_grad, tensor.detach().clone()) for name, tensor in tensors]
