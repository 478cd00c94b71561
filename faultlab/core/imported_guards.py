"""The modules of the guards, for code that must not import them."""

from __future__ import annotations

import sys
from types import ModuleType


def module(name: str) -> ModuleType | None:
    """Return a module of `faultlab.guards` by its name within it; None if the process has not imported it.

    The first import of the guards decides which framework their callbacks belong to, so it is left to the user's code
    and to the runs that have guards.
    """
    return sys.modules.get(f"faultlab.guards.{name}")
