"""Hooks on parts of a module that also work if the parts are compiled.

Code compiled by `torch.compile` ignores hooks that are registered after its first call. A hook registered before
becomes part of it: it breaks the graph, and with ``fullgraph`` the training. Therefore no part within a compiled module
is hooked.
"""

from __future__ import annotations

import contextlib
import operator
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

_PEEK: Callable[[], Any] | None = getattr(getattr(torch._C, "_functorch", None), "peek_interpreter_stack", None)
"""Returns the running `torch.func` transform, if any. Values then stand for many samples at once, or for none."""

_Hook = Callable[[Any, Any, Any], None]


def parts(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and parts of a module whose calls can be observed, the module itself with an empty name."""
    if not _is_compiled(getattr(module, "training_step", None)):
        yield from _heard(module, "", set())


def is_closed(module: Any) -> bool:
    """Return whether everything within the module is compiled, so that only its own calls can be observed."""
    return getattr(module, "_compiled_call_impl", None) is not None or _is_compiled(getattr(module, "forward", None))


class Ears:
    """The hooks of one guard. Copies of the module or of the guard have none of them.

    Args:
        failed: Called with the exception if a hook fails, since the training must not be affected.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self.failed = failed
        self._ears: set[_Ear] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"failed": self.failed, "_ears": set()}

    def after(self, part: nn.Module, hook: _Hook) -> None:
        """Call ``hook(part, args, output)`` after each call of the part."""
        self._listen(part, hook, after=True)

    def before(self, part: nn.Module, hook: _Hook) -> None:
        """Call ``hook(part, args, kwargs)`` before each call of the part."""
        self._listen(part, hook, after=False)

    def rest(self) -> None:
        """Stop calling the hooks until some are added again.

        If something is compiled, the registered hooks stay on the parts until `off`: dynamo recompiles a function if
        the hooks of a part that it calls have changed.
        """
        if not _compiles():
            self.off()
        for ear in self._ears:
            ear.hooks.get(self, []).clear()

    def off(self) -> None:
        """Remove all hooks from the parts.

        A signal may interrupt it; the end of the training then calls it again.
        """
        for ear in [*self._ears]:
            ear.leave(self)
            self._ears.discard(ear)

    def __bool__(self) -> bool:
        return any(ear.hooks.get(self) for ear in self._ears)

    def _listen(self, part: nn.Module, hook: _Hook, after: bool) -> None:
        on_part = _ON_PARTS.setdefault(id(part), {})
        ear = on_part.get(after)
        if ear is None or ear.part() is not part:
            ear = on_part[after] = _Ear(part, after)
        ear.hooks.setdefault(self, []).append(hook)
        if ear.added is not None:
            ear.added.append((self, hook))
        self._ears.add(ear)


class _Ear:
    """The torch hook on one part that serves all guards. A copied or pickled one does nothing.

    A copy is not part of the observed training, and the process that loads it may not have this package.
    """

    def __init__(self, part: nn.Module, after: bool) -> None:
        self.hooks: dict[Ears, list[_Hook]] = {}
        self.added: list[tuple[Ears, _Hook]] | None = None  # during a call
        self._key = key = id(part)
        self.part = weakref.ref(part, lambda _: _ON_PARTS.pop(key, None))
        self._after = after
        boundary = _boundary(part)
        if boundary is not None:
            self._handle: Any = boundary.listen(**{"after" if after else "before": self})
        elif after:
            self._handle = part.register_forward_hook(self)
        else:
            self._handle = part.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, part: Any, args: Any, heard: Any) -> None:
        if torch.compiler.is_compiling() or (_PEEK is not None and _PEEK() is not None):
            return
        # Copies, since a hook may remove itself or others.
        known = [(ears, hook) for ears, hooks in self.hooks.items() for hook in hooks]
        added: list[tuple[Ears, _Hook]] = []
        before, self.added = self.added, added
        try:
            # A call may begin the batch of a loop, where guards add hooks for this very call.
            for hooks in (known, added):
                for ears, hook in hooks:
                    try:
                        hook(part, args, heard)
                    except Exception as error:
                        ears.failed(error)
        finally:
            self.added = before

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")

    def leave(self, ears: Ears) -> None:
        """Remove a guard's hooks, and the torch hook itself if no guard is left."""
        self.hooks.pop(ears, None)
        if not self.hooks:
            self._handle.remove()
            known = _ON_PARTS.get(self._key, {})
            if known.get(self._after) is self:
                del known[self._after]


_ON_PARTS: dict[int, dict[bool, _Ear]] = {}
"""The torch hooks by the identity of their part, since a metric's hash changes with its state."""


def _compiles() -> bool:
    """Return whether this process has compiled anything with `torch.compile`."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    # Functions that are only kept from being compiled have an entry too, which is not callable.
    return any(map(callable, getattr(frames, "cached_backends", {}).values()))


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
    """Return the wrapper of a module that was compiled in place, None if torch's own hooks work."""
    compiled = getattr(module, "_compiled_call_impl", None)
    if compiled is None:
        return None
    if not isinstance(compiled, _Boundary):
        module._compiled_call_impl = compiled = _Boundary(module, compiled)
    return compiled


class _Boundary:
    """A wrapper of a module's compiled call that also calls listeners. A copied or pickled one is the compiled call."""

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

    def __reduce__(self) -> Any:
        return operator.itemgetter(0), ((self._compiled,),)

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
    """One listener of a `_Boundary`."""

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
