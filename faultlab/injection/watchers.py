"""Watchers in place of an object's own methods, set on the instance and removed again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_WATCHED = "__faultlab_watched__"


def watch(callback: Any, hook: str, watcher: Callable[..., Any]) -> None:
    """Put a watcher in place of a callback's hook, on the instance, until `release`."""
    own = vars(callback).get(hook)
    object.__setattr__(callback, hook, watcher)
    vars(watcher)[_WATCHED] = own


def release(callback: Any) -> None:
    """Remove every watcher from a callback.

    A callback that a fault tampers with is part of the failure: its request to stop must take effect, and is not a
    detection.
    """
    for hook, method in list(getattr(callback, "__dict__", {}).items()):
        if _WATCHED in getattr(method, "__dict__", {}):
            own = vars(method)[_WATCHED]
            object.__delattr__(callback, hook)
            if own is not None:
                object.__setattr__(callback, hook, own)
