"""Patching of foreign classes, in this module only: attributes are replaced, and restored in reverse order."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from types import ModuleType, TracebackType
from typing import Any

from faultlab.core.references import any_module, references

Make = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the wrapper of a function."""
_MISSING = object()


class Patches:
    """A stack of replaced attributes; leaving the context restores each one, inherited ones included."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def wrap(self, owner: Any, name: str, make: Make) -> None:
        """Replace ``owner.name`` (an attribute of a class, instance or module) by ``make(original)``."""
        self.set(owner, name, _wrapper(getattr(owner, name), make))

    def wrap_imported(
        self, functions: Collection[Any], make: Make, looks_at: Callable[[ModuleType], bool] = any_module
    ) -> None:
        """Replace functions under every name that a module has for them.

        A function has one wrapper, whatever its names, so that wrapping it once more finds the same names again.

        Args:
            functions: The functions as they are now, wrapped ones included.
            make: Called once for each function.
            looks_at: As for `references`.
        """
        wrappers = {id(function): _wrapper(function, make) for function in functions}
        for module, name, function in list(references(functions, looks_at)):
            self.set(module, name, wrappers[id(function)])

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set ``owner.name``; the undo restores the attribute's own entry, or deletes it if it had none."""
        before = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)

        def restore() -> None:
            if vars(owner).get(name, _MISSING) is not value:
                return  # replaced again since, as by a fixture of a wider scope, which owns it now
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        self._undo.append(restore)

    def on_exit(self, undo: Callable[[], None]) -> None:
        """Call ``undo`` when the patches are removed; for hooks that have their own removal."""
        self._undo.append(undo)

    def close(self) -> None:
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _wrapper(original: Any, make: Make) -> Any:
    """Return the wrapper of a function, with its signature.

    Lightning reads signatures to decide what to pass and which hooks are overridden, and unwraps only one
    ``__wrapped__``.
    """
    shown = getattr(original, "__wrapped__", original)
    wrapper: Any = functools.update_wrapper(make(original), original)
    wrapper.__wrapped__ = getattr(shown, "__func__", shown)
    # On an instance, the wrapper refers to that instance: guards build a new one for the copies that they try out.
    vars(wrapper)["__faultlab_made__"] = make, original
    return wrapper
