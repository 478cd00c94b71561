"""Lookup of what installed packages add by entry points, by name; imported on first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import UsageError


def loaded(kind: str, name: str, added: Mapping[str, EntryPoint], known: Iterable[str]) -> Any:
    """Return the object of the entry point with that name.

    Args:
        kind: The kind of plug-in, in one word for the messages.
        name: The name to look up.
        added: The entry points of that kind, by name.
        known: All valid names, including faultlab's own.

    Raises:
        UsageError: The name is unknown, or the package that adds it can't be imported.
    """
    if name not in added:
        raise UsageError(f"unknown {kind} {name!r}; use one of {', '.join(known)}")
    try:
        return added[name].load()
    except Exception as error:  # a foreign module may do anything on import
        why = f"{type(error).__name__}: {safe_text(error)}"
        raise UsageError(f"the {kind} {name!r}, {added[name].value}, can't be imported: {why}") from None
