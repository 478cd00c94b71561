"""Hooks on a module's parts, which are heard from outside where they are compiled.

What `torch.compile` makes calls no hook that is set after its first call. One that is set before becomes part of it: it
breaks the graph, and with ``fullgraph`` the training. So nothing within a compiled module is listened to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn


def parts(module: Any) -> Iterator[tuple[str, Any]]:
    """The module, under the empty name, and its parts by name, as far as their calls can be heard."""
    if not _is_compiled(getattr(module, "training_step", None)):
        yield from _heard(module, "", set())


def is_closed(module: Any) -> bool:
    """Whether what lies within the module is compiled, so that of its calls alone something is heard."""
    return getattr(module, "_compiled_call_impl", None) is not None or _is_compiled(getattr(module, "forward", None))


def after(module: nn.Module, hook: Callable[[Any, Any, Any], None]) -> Any:
    """Has ``hook(module, args, output)`` called after each call; returns what ``remove`` ends it by."""

    def heard(module: Any, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            hook(module, args, output)

    boundary = _boundary(module)
    return module.register_forward_hook(heard) if boundary is None else boundary.listen(after=hook)


def before(module: nn.Module, hook: Callable[[Any, Any, Any], None]) -> Any:
    """Has ``hook(module, args, kwargs)`` called before each call; returns what ``remove`` ends it by."""

    def heard(module: Any, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():
            hook(module, args, kwargs)

    boundary = _boundary(module)
    if boundary is not None:
        return boundary.listen(before=hook)
    return module.register_forward_pre_hook(heard, with_kwargs=True)


def _heard(module: Any, name: str, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    if module in seen:
        return
    seen.add(module)
    yield name, module
    if not is_closed(module):
        for own, part in module.named_children():
            yield from _heard(part, f"{name}.{own}" if name else own, seen)


def _is_compiled(method: Any) -> bool:
    return hasattr(method, "_torchdynamo_orig_callable") and not getattr(method, "_torchdynamo_disable", False)


def _boundary(module: Any) -> _Boundary | None:
    """What stands before a module that was compiled in place; None where a hook of torch's is heard."""
    compiled = getattr(module, "_compiled_call_impl", None)
    if compiled is None:
        return None
    if not isinstance(compiled, _Boundary):
        module._compiled_call_impl = compiled = _Boundary(module, compiled)
    return compiled


class _Boundary:
    """Calls a module that was compiled in place, and whoever listens."""

    def __init__(self, module: nn.Module, compiled: Callable[..., Any]) -> None:
        self._module = module
        self._compiled = compiled
        self._listeners: list[_Listener] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return self._compiled(*args, **kwargs)
        for listener in self._listeners:
            if listener.before is not None:
                listener.before(self._module, args, kwargs)
        output = self._compiled(*args, **kwargs)
        for listener in self._listeners:
            if listener.after is not None:
                listener.after(self._module, args, output)
        return output

    def listen(
        self,
        before: Callable[[Any, Any, Any], None] | None = None,
        after: Callable[[Any, Any, Any], None] | None = None,
    ) -> _Listener:
        listener = _Listener(self, before, after)
        self._listeners.append(listener)
        return listener

    def leave(self, listener: _Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and getattr(self._module, "_compiled_call_impl", None) is self:
            self._module._compiled_call_impl = self._compiled


class _Listener:
    """Who listens at a boundary."""

    def __init__(
        self,
        boundary: _Boundary,
        before: Callable[[Any, Any, Any], None] | None,
        after: Callable[[Any, Any, Any], None] | None,
    ) -> None:
        self.before = before
        self.after = after
        self._boundary = boundary

    def remove(self) -> None:
        self._boundary.leave(self)
