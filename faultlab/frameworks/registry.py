"""The frameworks by name, each imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from faultlab.core import framework_names, plug_ins
from faultlab.frameworks import guards_at_work
from faultlab.frameworks.base import Framework


@cache
def _observed() -> None:
    guards_at_work.register()


@cache
def named(name: str) -> Framework:
    """Return the framework of that name.

    Raises:
        UsageError: The name is unknown, or the package that adds it can't be imported.
    """
    _observed()
    if name in framework_names.BUILT_IN:
        found: Framework = importlib.import_module(framework_names.BUILT_IN[name]).FRAMEWORK
        return found
    added: Framework = plug_ins.loaded("framework", name, framework_names.added(), framework_names.known())
    return added


def default_framework() -> Framework:
    """Return the default framework."""
    return named(framework_names.DEFAULT)


def of(scenario: Mapping[str, Any]) -> Framework:
    """Return the framework of a scenario in the form that victims receive."""
    return named(str(scenario.get("framework") or framework_names.DEFAULT))
