"""The input and output of forward, of the target itself or of the submodule that does its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules import module as modules

from faultlab.catalogue.injection_points import HeadInput, ModuleOutput
from faultlab.core.patching import Patches
from faultlab.frameworks.torch.layers import has_own
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(ModuleOutput)
def module_output(point: ModuleOutput, patches: Patches, armed: Armed, site: Site) -> None:
    if armed.profile.forward == "" and hasattr(site.cls, "forward"):
        # A wrapped method instead of a forward hook: `self.forward(x)` bypasses hooks.
        def make(forward: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                output = forward(*args, **kwargs)
                return armed.map(output) if armed.due() else output

            return _outermost(mapped, forward, armed, site)

        patches.wrap(site.owner("forward"), "forward", make)
    else:
        forgotten = False

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal forgotten
            if not (_is_target(module, armed, site) and armed.due()):
                return output
            new = armed.map(output)
            forgotten = new is None
            return new

        def make_call(call: Callable[..., Any]) -> Callable[..., Any]:
            def calling(*args: Any, **kwargs: Any) -> Any:
                nonlocal forgotten
                output = call(*args, **kwargs)
                if not (forgotten and _is_target(args[0], armed, site)):
                    return output
                forgotten = False
                return None

            return calling

        patches.on_exit(modules.register_module_forward_hook(hook).remove)
        # torch treats a hook's None as "no change".
        patches.wrap(nn.Module, "__call__", make_call)


@hooks(HeadInput)
def head_input(point: HeadInput, patches: Patches, armed: Armed, site: Site) -> None:
    layers = _Layers(lambda: site.present(armed.clock))

    def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
        if _is_target(module, armed, site):
            layers.begin()
        return _first_mapped(args, armed) if layers.is_head(module) else None

    def after(module: nn.Module, args: Any, output: Any) -> None:
        if _is_target(module, armed, site):
            layers.end()

    def make(forward: Callable[..., Any]) -> Callable[..., Any]:
        def followed(*args: Any, **kwargs: Any) -> Any:
            # A copy has another last layer.
            if armed.clock.tried:
                return forward(*args, **kwargs)
            layers.begin()
            try:
                return forward(*args, **kwargs)
            finally:
                layers.end()

        return _outermost(followed, forward, armed, site)

    patches.on_exit(modules.register_module_forward_pre_hook(before).remove)
    if armed.profile.forward == "" and hasattr(site.cls, "forward"):
        patches.wrap(site.owner("forward"), "forward", make)
    else:
        patches.on_exit(modules.register_module_forward_hook(after).remove)


class _Layers:
    """Tracks the layers with parameters of their own that run inside forward."""

    def __init__(self, find_root: Callable[[], nn.Module]) -> None:
        self._find_root = find_root
        self._root: nn.Module | None = None
        self._head: nn.Module | None = None
        self._ran: nn.Module | None = None
        self._inside = False

    def begin(self) -> None:
        self._ran, self._inside = None, True
        root = self._find_root()
        if root is not self._root:
            self._root = root
            self._head = next((part for part in reversed(list(root.modules())) if has_own(part)), None)

    def end(self) -> None:
        self._head, self._inside = self._ran or self._head, False

    def is_head(self, module: nn.Module) -> bool:
        """Record that the layer runs; return True if it is the last one."""
        if not self._inside or not has_own(module):
            return False
        self._ran = module
        return module is self._head


def _outermost(around: Callable[..., Any], forward: Callable[..., Any], armed: Armed, site: Site) -> Callable[..., Any]:
    """Return a forward that calls the first function for the target, and the second for others that share its class.

    These are its parts, and other models if the class is one of torch's, such as `nn.Sequential`. Code of the user's
    own class has the fault in all of its instances.
    """
    shared = site.owner("forward") is site.cls and site.cls.__module__.partition(".")[0] == "torch"
    running = False

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal running
        other = shared and args[0] is not site.present(armed.clock) and not armed.clock.tried
        if running or other:
            return forward(*args, **kwargs)
        running = True
        try:
            return around(*args, **kwargs)
        finally:
            running = False

    return call


def _first_mapped(args: tuple[Any, ...], armed: Armed) -> tuple[Any, ...]:
    return (armed.map(args[0]), *args[1:]) if args and armed.due() else args


def _is_target(module: nn.Module, armed: Armed, site: Site) -> bool:
    root = site.present(armed.clock)
    if root is None or armed.profile.forward is None:
        return False
    try:
        return root.get_submodule(armed.profile.forward) is module
    except AttributeError:
        return False
