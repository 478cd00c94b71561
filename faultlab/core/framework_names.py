"""The frameworks that scenarios may name: those of faultlab, and those that installed packages add."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

ENTRY_POINT_GROUP = "faultlab.frameworks"
DEFAULT = "lightning"
BUILT_IN = {DEFAULT: "faultlab.frameworks.lightning.framework", "torch": "faultlab.frameworks.loops.framework"}
"""The modules that have a framework's object under the name FRAMEWORK. Nothing is imported before it is asked for."""


def added() -> dict[str, EntryPoint]:
    """Return the entry points by which installed packages add frameworks, by name."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def known() -> list[str]:
    """Return the names of all frameworks, in order."""
    return sorted({*BUILT_IN, *added()})
