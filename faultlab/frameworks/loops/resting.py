"""Patches that do nothing while what they follow is not to be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches


class RestingPatches(Patches):
    """Passes everything on to other patches; a wrapper calls what it wraps while ``rests`` returns True."""

    def __init__(self, patches: Patches, rests: Callable[[], bool]) -> None:
        super().__init__()
        self._patches, self._rests = patches, rests

    def wrap(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        def made(original: Callable[..., Any]) -> Callable[..., Any]:
            wrapper = make(original)

            def calling(*args: Any, **kwargs: Any) -> Any:
                return (original if self._rests() else wrapper)(*args, **kwargs)

            return calling

        self._patches.wrap(owner, name, made)

    def set(self, owner: Any, name: str, value: Any) -> None:
        self._patches.set(owner, name, value)

    def on_exit(self, undo: Callable[[], None]) -> None:
        self._patches.on_exit(undo)

    def close(self) -> None:
        self._patches.close()
