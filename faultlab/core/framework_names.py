"""The frameworks that scenarios may name: faultlab's own and those of installed packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

ENTRY_POINT_GROUP = "faultlab.frameworks"
DEFAULT = "lightning"
BUILT_IN = {DEFAULT: "faultlab.frameworks.lightning.framework", "torch": "faultlab.frameworks.loops.framework"}
"""The modules whose FRAMEWORK is the framework's object. They are imported only when their framework is used."""
_TITLES = {DEFAULT: "Lightning"}


def title(name: str = DEFAULT) -> str:
    """Return the name of a framework as sentences spell it."""
    return _TITLES.get(name, name)


def added() -> dict[str, EntryPoint]:
    """Return the entry points of the frameworks that installed packages add, by name."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def known() -> list[str]:
    """Return the names of all frameworks, sorted."""
    return sorted({*BUILT_IN, *added()})
