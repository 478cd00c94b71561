"""The calls of a loop that faults get around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[Any], Any]
"""Steps an optimizer with the closure that it is given (None for none)."""
Around = Callable[[Callable[[], Any]], Any]
"""Is called with a call, and makes it or does something else instead."""
AroundCallback = Callable[[str, str, Callable[[], Any]], Any]
"""Is called with the name of a callback, its hook and the call of it, as `Around` is."""


def plainly(call: Callable[[], Any]) -> Any:
    """Make the call, as it is made without a fault."""
    return call()
