"""Listeners that hooks add to the lists of a training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultlab.core.patching import Patches


def listening(patches: Patches, listeners: list[Any], listener: Callable[..., Any]) -> None:
    """Add a listener to one of a loop's lists until the patches are closed."""
    listeners.append(listener)

    def remove() -> None:
        if listener in listeners:
            listeners.remove(listener)

    patches.on_exit(remove)
