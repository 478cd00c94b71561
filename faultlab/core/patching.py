"""The only place that changes somebody else's class: attributes are replaced, and put back in reverse order."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any

_MISSING = object()


class Patches:
    """A stack of replaced attributes; leaving the context puts every one back, one that was inherited too."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replaces ``owner.name`` (a class, instance or module attribute) by ``make(original)``.

        The wrapper shows what the original showed: Lightning reads signatures to decide what to pass and which hooks
        are overridden, and it unwraps a single ``__wrapped__`` only.
        """
        original = getattr(owner, name)
        shown = getattr(original, "__wrapped__", original)
        wrapper: Any = functools.update_wrapper(make(original), original)
        wrapper.__wrapped__ = getattr(shown, "__func__", shown)
        # On an instance it leads to that instance: guards make it anew for the copies that they try out.
        vars(wrapper)["__faultlab_made__"] = make, original
        self.set(owner, name, wrapper)

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Sets ``owner.name``; undone by restoring the attribute's own entry, or by deleting it where it had none."""
        before = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)

        def restore() -> None:
            if vars(owner).get(name, _MISSING) is not value:
                return  # somebody has replaced it since, as a fixture of a wider scope does: it is theirs now
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        self._undo.append(restore)

    def on_exit(self, undo: Callable[[], None]) -> None:
        """Has ``undo`` called when the patches are taken off, for hooks that bring their own removal."""
        self._undo.append(undo)

    def close(self) -> None:
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
