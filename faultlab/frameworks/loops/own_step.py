"""The function of one training step, replaced under every name that a module has imported it by."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.references import references

Make = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes what replaces a function."""


def wrap_function(patches: Patches, owner: Any, name: str, make: Make) -> None:
    """Replace a function of a module, or a method of a class, until the patches are closed."""
    if not isinstance(owner, ModuleType):
        patches.wrap(owner, name, make)
        return
    for module, known, _ in list(references([getattr(owner, name)])):
        patches.wrap(module, known, make)
