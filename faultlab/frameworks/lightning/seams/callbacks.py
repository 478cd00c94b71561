"""The user's callbacks, as Lightning calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import CallbackHook
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

FIRST = "first"

# Callbacks that Lightning adds itself, and those that only display a training.
_DECORATION = ("ProgressBar", "TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary", "Timer",
               "GradientAccumulationScheduler", private_api.TIMER)  # fmt: skip


@hooks(CallbackHook, framework=NAME)
def callback_hook(point: CallbackHook, patches: Patches, armed: Armed, site: Site) -> None:
    def make(call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
            callback = _callback(trainer, armed)
            if callback is None or hook not in own_hooks(callback) or point.hook not in ("", hook):
                return call(trainer, hook, *args, **kwargs)
            armed.ctx.memory["hook"] = hook
            # The setup hooks run before the loops, and the clock learns the trainer from these.
            armed.clock.trainer = armed.clock.trainer or trainer
            with _around(callback, hook, armed, trainer):
                return call(trainer, hook, *args, **kwargs)

        return calling

    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.CALLS), private_api.CALL_CALLBACKS, make)


def _callback(trainer: Any, armed: Armed) -> Any:
    named = dict(named_callbacks(trainer))
    asked = getattr(armed.ctx.dose, "callback", FIRST)
    return next(iter(named.values()), None) if asked == FIRST else named.get(asked)


def named_callbacks(trainer: Any) -> list[tuple[str, Any]]:
    """Return the user's callbacks by class name, numbered from the second of a class."""
    named: dict[str, Any] = {}
    for callback in trainer.callbacks:
        name = type(callback).__name__
        if name not in _DECORATION and not _harness(callback):
            count = sum(type(known).__name__ == name for known in named.values())
            named[f"{name}{count + 1}" if count else name] = callback
    return list(named.items())


def _harness(callback: Any) -> bool:
    """Return True for a callback of the harness, False for one that the user added."""
    module = type(callback).__module__
    return module.partition(".")[0] == "faultlab" and not module.startswith("faultlab.guards")


def settings_of(callback: Any) -> dict[str, Any]:
    """Return the attributes of a callback that are plain values."""
    kinds = (bool, int, float, str, type(None), torch.Tensor)
    return {name: value for name, value in getattr(callback, "__dict__", {}).items() if isinstance(value, kinds)}


def own_hooks(callback: Any) -> list[str]:
    """Return the hooks that a callback's class defines itself, or that were set on the callback."""
    base = namespaces.base_callback(type(callback)) or namespaces.any_callback()
    names = [name for name in dir(base) if name.startswith("on_") or name in ("setup", "teardown")]
    own = getattr(callback, "__dict__", {})
    return [name for name in names if name in own or getattr(type(callback), name, None) is not getattr(base, name)]


@contextmanager
def _around(callback: Any, hook: str, armed: Armed, trainer: Any) -> Iterator[None]:
    """Break the callback's hook for one call, on the instance, which may have its own watcher."""
    if not armed.due():
        yield
        return
    module = trainer.lightning_module

    def left_behind() -> Any:
        tensors = [*module.parameters(), *module.buffers()] if module is not None else []
        return [trainer.should_stop, [tensor.detach().clone() for tensor in tensors]]

    def make(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: armed.around(lambda: method(*args, **kwargs), left_behind)

    with Patches() as patches:
        patches.wrap(callback, hook, make)
        yield
