"""What goes into and comes out of forward, of the target itself or of the submodule that does its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules import module as hooks

from faultlab.seams.base import Seam, Site
from faultlab.seams.patching import Patches

if TYPE_CHECKING:
    from faultlab.recon import Recon
    from faultlab.seams.armed import Armed


@dataclass(frozen=True)
class _Forward(Seam):
    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.forward is not None else "no forward with parameters runs in training_step"


@dataclass(frozen=True)
class ModuleOutput(_Forward):
    """The result of forward. The injector maps output -> output (a tensor, or whatever forward returns)."""

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        if armed.recon.forward == "":
            # A wrapped method and no forward hook: `self.forward(x)` passes hooks by.
            def make(forward: Callable[..., Any]) -> Callable[..., Any]:
                def mapped(*args: Any, **kwargs: Any) -> Any:
                    output = forward(*args, **kwargs)
                    return armed.map(output) if armed.due() else output

                return mapped

            patches.wrap(site.owner("forward"), "forward", make)
        else:

            def hook(module: nn.Module, args: Any, output: Any) -> Any:
                return armed.map(output) if _is_target(module, armed) and armed.due() else output

            patches.on_exit(hooks.register_module_forward_hook(hook).remove)


@dataclass(frozen=True)
class ModuleInput(_Forward):
    """The first positional argument of forward. The injector maps input -> input."""

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        if armed.recon.forward == "":
            first = site.first_argument("forward")

            def make(forward: Callable[..., Any]) -> Callable[..., Any]:
                def mapped(*args: Any, **kwargs: Any) -> Any:
                    return forward(*args[:first], *_first_mapped(args[first:], armed), **kwargs)

                return mapped

            patches.wrap(site.owner("forward"), "forward", make)
        else:

            def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
                return _first_mapped(args, armed) if _is_target(module, armed) else None

            patches.on_exit(hooks.register_module_forward_pre_hook(hook).remove)


def _first_mapped(args: tuple[Any, ...], armed: Armed) -> tuple[Any, ...]:
    return (armed.map(args[0]), *args[1:]) if args and armed.due() else args


def _is_target(module: nn.Module, armed: Armed) -> bool:
    root = getattr(armed.clock.trainer, "lightning_module", None)
    if root is None or not armed.recon.forward:
        return False
    try:
        return root.get_submodule(armed.recon.forward) is module
    except AttributeError:
        return False
