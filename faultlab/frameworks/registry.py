"""The frameworks by name, each imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from faultlab.core import framework_names
from faultlab.core.notice import safe_text
from faultlab.errors import UsageError
from faultlab.frameworks.base import Framework


@cache
def named(name: str) -> Framework:
    """Return the framework of that name.

    Raises:
        UsageError: There is none, or the package that adds it can't be imported.
    """
    if name in framework_names.BUILT_IN:
        found: Framework = importlib.import_module(framework_names.BUILT_IN[name]).FRAMEWORK
        return found
    entry = framework_names.added().get(name)
    if entry is None:
        raise UsageError(f"there is no framework {name!r}; there are {', '.join(framework_names.known())}")
    try:
        loaded: Framework = entry.load()
    except Exception as error:  # whatever a foreign module does when it is imported
        why = f"{type(error).__name__}: {safe_text(error)}"
        raise UsageError(f"the framework {name!r}, {entry.value}, can't be imported: {why}") from None
    return loaded


def default_framework() -> Framework:
    """Return the framework that is meant where nothing names one."""
    return named(framework_names.DEFAULT)


def of(scenario: Mapping[str, Any]) -> Framework:
    """Return the framework of a scenario, as victims are given it."""
    return named(str(scenario.get("framework") or framework_names.DEFAULT))
