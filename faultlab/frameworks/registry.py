"""The frameworks that there are: Lightning, and those that other packages add by an entry point."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from faultlab.catalogue.failure_mode import nearest
from faultlab.core.notice import safe_text
from faultlab.errors import UsageError
from faultlab.frameworks.base import Framework

ENTRY_POINT_GROUP = "faultlab.frameworks"
DEFAULT = "lightning"

# Each module has the framework's object under the name FRAMEWORK.
_BUILT_IN = {DEFAULT: "faultlab.frameworks.lightning.framework"}


@cache
def named(name: str) -> Framework:
    """Return the framework of that name.

    Raises:
        UsageError: There is none, or the package that adds it can't be imported.
    """
    if name in _BUILT_IN:
        found: Framework = importlib.import_module(_BUILT_IN[name]).FRAMEWORK
        return found
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == name:
            try:
                loaded: Framework = entry.load()
            except Exception as error:  # whatever a foreign module does when it is imported
                why = f"{type(error).__name__}: {safe_text(error)}"
                raise UsageError(f"the framework {name!r} of {entry.value} can't be imported: {why}") from None
            return loaded
    known = sorted({*_BUILT_IN, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))})
    raise UsageError(f"there is no framework {name!r}; there are {', '.join(known)}. {nearest(name, known)}".rstrip())


def default_framework() -> Framework:
    """Return the framework that is meant where nothing names one."""
    return named(DEFAULT)


def of(scenario: Mapping[str, Any]) -> Framework:
    """Return the framework of a scenario, as victims are given it."""
    return named(str(scenario.get("framework") or DEFAULT))
