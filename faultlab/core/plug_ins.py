"""What installed packages add by entry points, looked up by name and imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import UsageError


def loaded(kind: str, name: str, added: Mapping[str, EntryPoint], known: Iterable[str]) -> Any:
    """Return what the entry point of that name gives.

    Args:
        kind: What is added, in a word, for the messages.
        name: The name that was asked for.
        added: The entry points of that kind, by name.
        known: The names of all there are, faultlab's own among them.

    Raises:
        UsageError: There is none of that name, or the package that adds it can't be imported.
    """
    if name not in added:
        raise UsageError(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    try:
        return added[name].load()
    except Exception as error:  # whatever a foreign module does when it is imported
        why = f"{type(error).__name__}: {safe_text(error)}"
        raise UsageError(f"the {kind} {name!r}, {added[name].value}, can't be imported: {why}") from None
