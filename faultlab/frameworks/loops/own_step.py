"""The function of one training step, replaced under every name that a module has imported it by."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from faultlab.core.patching import Make, Patches


def wrap_function(patches: Patches, owner: Any, name: str, make: Make) -> None:
    """Replace a function of a module, or a method of a class, until the patches are closed."""
    if isinstance(owner, ModuleType):
        patches.wrap_imported([getattr(owner, name)], make)
    else:
        patches.wrap(owner, name, make)
